// SPDX-License-Identifier: MIT
//
// Both channels together.
#include "drivers/ide/ide.hpp"

#include <algorithm>
#include <cerrno>

#include "libudrv/error.hpp"

namespace udrv::ide {

Ide::Ide(const std::array<ChannelPorts, nr_channels>& ports, DmaAllocator& dma,
         const Config& config)
    : channels_{{{ports[0], 0, config}, {ports[1], 1, config}}} {
    for (unsigned channel = 0; channel < nr_channels; channel++) {
        channels_[channel].attach(dma, notes_);
        for (unsigned drive = 0; drive < drives_a_channel; drive++) {
            if (channels_[channel].present(drive)) {
                channels_[channel].number_disk(drive, static_cast<std::uint32_t>(disks_.size()));
                disks_.push_back(channels_[channel].disk(drive));
                places_.push_back({channel, drive});
            }
        }
    }
    if (disks_.empty()) {
        std::string found = "there is none on either channel";
        for (const std::string& note : notes_) {
            found.append("; ").append(note);
        }
        throw_error(ENODEV, "ide: look for disks", found);
    }
}

void Ide::start(BlkCompletions& done) {
    for (Channel& channel : channels_) {
        channel.start(done);
    }
}

/// Both are always asked: what is left standing in an idle channel's BMIDESTA would
/// still be there when its next command starts, where it has to be clear.
bool Ide::interrupt() {
    bool handled = false;
    for (Channel& channel : channels_) {
        if (channel.has_disk()) {
            handled |= channel.interrupt();
        }
    }
    return handled;
}

void Ide::submit(std::uint32_t disk, std::span<const BlkSubmission> submissions) {
    const Place place = places_[disk];
    channels_[place.channel].submit(place.drive, submissions);
}

BlkClock::time_point Ide::tick(BlkClock::time_point now) {
    return std::min(channels_[0].tick(now), channels_[1].tick(now));
}

void Ide::stop() {
    for (Channel& channel : channels_) {
        channel.stop();
    }
}

} // namespace udrv::ide
