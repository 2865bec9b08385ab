# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Completion of udrv(8) for bash.

_udrv_devices() { # BOUND: those that udrv has; ALL
    local folder=/sys/bus/pci/devices
    [ "$1" = ALL ] || folder=/sys/bus/pci/drivers/udrv
    compgen -G "$folder/*:*" | sed 's|.*/||'
    # The names of their interfaces and disks do as well.
    compgen -G "$folder/*:*/net/*" | sed 's|.*/||'
    compgen -G "$folder/*:*/udrv_disk/*" | sed 's|.*/||'
}

_udrv() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} options=''
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W 'bind unbind run upgrade status top list doctor --help --version' -- "$word")
        return
    fi
    case $before in
    --wait) mapfile -t COMPREPLY < <(compgen -W 'auto uring read' -- "$word"); return ;;
    --stats) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    --deadline | --restart-limit | --name | --interval | --count) return ;;
    esac
    case $command in
    bind) options='--force --unsafe-no-iommu --untrusted --save --saved' ;;
    unbind) options='--force --save' ;;
    run) options='--restart --deadline --restart-limit --name --wait --queues --stats --no-sandbox --verbose' ;;
    status) options='--json --openmetrics' ;;
    top) options='--interval --count' ;;
    list | doctor) options='--json' ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options --help" -- "$word")
        return
    fi
    case $command in
    bind) options=$(_udrv_devices ALL) ;;
    unbind | upgrade) options=$(_udrv_devices BOUND) ;;
    run) options="$(_udrv_devices BOUND) $(udrv list --names 2>/dev/null)" ;;
    *) return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    # A colon is a separator of words to bash: only what follows the last one is replaced.
    type __ltrim_colon_completions >/dev/null 2>&1 && __ltrim_colon_completions "$word"
    return 0
}
complete -F _udrv udrv
