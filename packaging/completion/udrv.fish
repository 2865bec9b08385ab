# SPDX-License-Identifier: MIT
# Completion of udrv(8) for fish.

set -l commands bind unbind run upgrade status top list doctor
function __udrv_devices
    for path in /sys/bus/pci/$argv[1]/*:* /sys/bus/pci/$argv[1]/*:*/{net,udrv_disk}/*
        string replace -r '.*/' '' $path
    end
end

complete -c udrv -f
complete -c udrv -l help -d 'What it takes'
complete -c udrv -n "not __fish_seen_subcommand_from $commands" -l version -d Version
complete -c udrv -n "not __fish_seen_subcommand_from $commands" -a "$commands"
complete -c udrv -n '__fish_seen_subcommand_from bind' -a '(__udrv_devices devices)'
complete -c udrv -n '__fish_seen_subcommand_from unbind upgrade run' -a '(__udrv_devices drivers/udrv)'
complete -c udrv -n '__fish_seen_subcommand_from run' -a '(udrv list --names 2>/dev/null)'
complete -c udrv -n '__fish_seen_subcommand_from bind unbind' -l force -d 'Even if it is in use'
complete -c udrv -n '__fish_seen_subcommand_from bind' -l unsafe-no-iommu -d 'Even if no IOMMU confines it'
complete -c udrv -n '__fish_seen_subcommand_from bind' -l untrusted -d 'Copy what the driver receives'
complete -c udrv -n '__fish_seen_subcommand_from run' -l restart -d 'Start it again'
complete -c udrv -n '__fish_seen_subcommand_from run' -l deadline -x -d 'Milliseconds without progress'
complete -c udrv -n '__fish_seen_subcommand_from run' -l restart-limit -x -d 'Consecutive runs under a second'
complete -c udrv -n '__fish_seen_subcommand_from run' -l name -x -d 'Name of the interface'
complete -c udrv -n '__fish_seen_subcommand_from run' -l wait -x -a 'auto uring read' -d 'How to wait'
complete -c udrv -n '__fish_seen_subcommand_from run' -l queues -x -d 'Of an interface, at most'
complete -c udrv -n '__fish_seen_subcommand_from run' -l stats -r -d 'Counters as JSON'
complete -c udrv -n '__fish_seen_subcommand_from run' -l no-sandbox -d 'Keep privileges'
complete -c udrv -n '__fish_seen_subcommand_from run' -s v -l verbose -d 'Log more'
complete -c udrv -n '__fish_seen_subcommand_from status list doctor' -l json -d 'As JSON'
complete -c udrv -n '__fish_seen_subcommand_from bind unbind' -l save -d 'At each boot, too'
complete -c udrv -n '__fish_seen_subcommand_from bind' -l saved -d 'As --save kept it'
complete -c udrv -n '__fish_seen_subcommand_from status' -l openmetrics -d 'For Prometheus'
complete -c udrv -n '__fish_seen_subcommand_from top' -l interval -x -d 'Seconds between tables'
complete -c udrv -n '__fish_seen_subcommand_from top' -l count -x -d 'Tables'
