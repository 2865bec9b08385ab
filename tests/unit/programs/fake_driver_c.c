/* SPDX-License-Identifier: MIT */
/*
 * fake_driver_c RECORD [hang]: a driver in C without a device, for tests of the supervisor.
 * Writes what it does into the file RECORD, a line each: "c serving PID".
 */
#include <stdio.h>
#include <time.h>

#include "protocol.h"

static volatile sig_atomic_t stop;

static void on_stop(int number)
{
	(void)number;
	stop = 1;
}

static void record(const char *path, const char *what)
{
	FILE *file = fopen(path, "a");

	if (!file)
		exit(1);
	fprintf(file, "c %s %d\n", what, (int)getpid());
	fclose(file);
}

int main(int argc, char **argv)
{
	const struct timespec pause_ms = {0, 10000000};
	struct udrv_supervised self;
	struct sigaction action;
	int beats;

	if (argc < 2)
		return 2;
	if (udrv_supervised_begin(&self) != 1) {
		fprintf(stderr, "fake_driver_c: nobody supervises it\n");
		return 2;
	}
	memset(&action, 0, sizeof(action));
	action.sa_handler = on_stop;
	sigaction(SIGTERM, &action, NULL);
	if (!udrv_wait_for_turn(&self))
		return 0;
	udrv_say_serving(&self);
	record(argv[1], "serving");
	for (beats = 0; !stop; beats++) {
		while (argc > 2 && beats == 3)
			pause();
		udrv_beat(&self);
		nanosleep(&pause_ms, NULL);
	}
	record(argv[1], "left");
	return 0;
}
