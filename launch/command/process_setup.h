#ifndef LAUNCH_COMMAND_PROCESS_SETUP_H_
#define LAUNCH_COMMAND_PROCESS_SETUP_H_

namespace moe {

// What every program calls first, so that what is refused to it ends in a
// message and an exit code of ours:
//
//   - a limit of file sizes (ulimit -f) is an error of a write, no signal, and
//     so is a reader of our output that has left;
//   - memory that is refused ends the process as refused_memory.h says.
//
// `program`: a literal.
void SetUpProcess(const char* program);

// Before a program works. Where a launcher started this process as one of
// several that cannot join each other, it ends here, with 64 and one message
// (LeaveForeignLauncher): all would do the same, into the same files. What only
// tells of the program, as --help, is for every process.
void RefuseForeignLauncher(const char* program);

}  // namespace moe

#endif  // LAUNCH_COMMAND_PROCESS_SETUP_H_
