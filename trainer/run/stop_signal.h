#ifndef TRAINER_RUN_STOP_SIGNAL_H_
#define TRAINER_RUN_STOP_SIGNAL_H_

#include <vector>

namespace moe {

// The signals that ask a program to end: USR1, TERM, INT, HUP (unless nohup had
// it ignored) and XCPU (a limit of processor time).
std::vector<int> StopSignals();

// From now on they ask for an orderly end: StopSignalReceived becomes and stays
// true. An INT after any of them ends the process as if unhandled. Call it from
// the first thread.
void InstallStopSignals();
bool StopSignalReceived();

// Makes the file that MOE_READY_FILE names, if it is set: launch/run.sh holds
// signals back until then, because before the handlers stand they would kill.
void ReportStopSignalsHandled();

}  // namespace moe

#endif  // TRAINER_RUN_STOP_SIGNAL_H_
