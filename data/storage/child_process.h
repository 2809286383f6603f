#ifndef DATA_STORAGE_CHILD_PROCESS_H_
#define DATA_STORAGE_CHILD_PROCESS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace moe {

struct ChildProcess {
  // The program, a path or a name to be found in PATH, and its arguments.
  std::vector<std::string> command;
  std::string directory;    // it works there
  std::string output_path;  // takes standard output and standard error
};

// How a child process ended.
struct ChildExit {
  int code = 0;
  int signal = 0;  // not 0: this signal ended it, and code says nothing

  // "exit code 3", "signal 9 (Killed)".
  std::string ToString() const;
};

// Runs a program to its end. It gets none of our open files, no signal is
// blocked in it, and the variables by which MPI knows its processes are not
// in its environment: it is no rank. It is killed when the calling thread ends,
// so when this process is. NotFound: there is no such program.
// ResourceExhausted: no process, file or memory is left for it. Internal: the
// system did not start it.
absl::StatusOr<ChildExit> RunChild(const ChildProcess& child);

}  // namespace moe

#endif  // DATA_STORAGE_CHILD_PROCESS_H_
