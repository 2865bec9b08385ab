// SPDX-License-Identifier: MIT
// Prints the frequency of this processor's time stamp counter in kHz. scripts/vm gives it
// to guests of QEMU's TCG, which read the same counter: what they measure of it themselves
// while the host is busy may be wrong by a multiple, and then all their clocks are.
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

struct sample {
    uint64_t tsc;
    uint64_t ns;
};

// The closest of many pairs: one that was interrupted between its halves is no measure.
static struct sample sample(void) {
    struct sample best = {0};
    uint64_t least = UINT64_MAX;

    for (int i = 0; i < 1000; i++) {
        struct timespec now;
        uint64_t before = __rdtsc();

        clock_gettime(CLOCK_MONOTONIC_RAW, &now);
        uint64_t after = __rdtsc();
        if (after - before >= least)
            continue;
        least = after - before;
        best.tsc = before + least / 2;
        best.ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    }
    return best;
}

int main(void) {
    const struct timespec wait = {.tv_nsec = 200000000};
    struct sample first = sample();

    nanosleep(&wait, NULL);
    struct sample last = sample();
    printf("%.0f\n", (double)(last.tsc - first.tsc) * 1e6 / (double)(last.ns - first.ns));
    return 0;
}
