# A job of the storm: KIND SECONDS. It says what it does in the log, each time in one write, and holds the
# lock of its job from its first breath to its last: who cannot have the lock runs beside another.
exec 9>>"locks/$QCTL_JOB_ID"
say() { echo "$1 $QCTL_JOB_ID $QCTL_TOKEN $QCTL_WORKER $QCTL_LABEL_tag" >>log; }
flock -n 9 || say overlap
case $1 in stubborn) trap '' TERM ;; esac
say start
sleep "$2"
case $1 in
recovers) if [ "$QCTL_ATTEMPT" -le 2 ]; then say fail; exit 1; fi ;;
doomed) say fail; exit 1 ;;
fatal) say fail; exit 65 ;;
esac
say end
