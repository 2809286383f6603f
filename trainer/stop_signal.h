#ifndef TRAINER_STOP_SIGNAL_H_
#define TRAINER_STOP_SIGNAL_H_

namespace moe {

// USR1, TERM, INT and HUP (unless nohup had it ignored), from now on, ask for
// an orderly end: StopSignalReceived becomes and stays true. An INT after any
// of them ends the process as if unhandled. PIPE is ignored: an INT from the
// terminal ends a tee behind us too, and the next line of progress must not end
// the process before the weights are saved.
// Call it from the first thread.
void InstallStopSignals();
bool StopSignalReceived();

// Makes the file that MOE_READY_FILE names, if it is set: launch/run.sh holds
// signals back until then, because before the handlers stand they would kill.
void ReportStopSignalsHandled();

}  // namespace moe

#endif  // TRAINER_STOP_SIGNAL_H_
