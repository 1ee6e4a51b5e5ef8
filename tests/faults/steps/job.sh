# A job of four steps. Each appends to the effects log, in one write, a line of its name, its job, the attempt
# and its key, and prints its name and its key; then comes what is in `after`. `ship` prints more than is kept in a row. HOW says what is done
# where a step may have happened: `verify` looks into the log, and with `mixed` charge and mail do so.
set -e
how=$1
for name in reserve charge ship mail; do
    case $how in
    verify) set -- verify "grep -q '^$name $QCTL_JOB_ID ' effects && echo $name \$QCTL_STEP_KEY" ;;
    mixed) case $name in
        charge | mail) set -- verify "grep -q '^$name $QCTL_JOB_ID ' effects && echo $name \$QCTL_STEP_KEY" ;;
        *) set -- rerun ;;
        esac ;;
    *) set -- "$how" ;;
    esac
    qctl step $name --on-uncertain "$@" -- '
        echo $QCTL_STEP $QCTL_JOB_ID $QCTL_TOKEN $QCTL_STEP_KEY >>effects
        echo $QCTL_STEP $QCTL_STEP_KEY
        case $QCTL_STEP in ship) [ ! -e is-large ] || dd if=/dev/zero bs=600k count=2 2>/dev/null ;; esac
        [ ! -e after ] || . ./after' \
        >printed.$QCTL_JOB_ID.$name
    echo $name is done
done
