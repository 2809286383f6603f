#ifndef COMM_BASE_EXIT_CODE_H_
#define COMM_BASE_EXIT_CODE_H_

#include "absl/status/status.h"

namespace moe {

// How a Status that reaches main ends the process: the one table of what our
// status codes mean (numbers of sysexits.h where one fits).
//
//   OK                                              0   done
//   InvalidArgument, AlreadyExists                  64  usage, configuration
//   NotFound, PermissionDenied, DataLoss,
//     FailedPrecondition                            65  input or checkpoint
//   ResourceExhausted, Unimplemented                69  memory, device, or not
//                                                       in this build
//   Internal, Unknown and all others                70  a defect of ours
//   Unavailable, DeadlineExceeded                   71  a rank or fabric lost
//   Aborted                                         74  the disk refused
//   Cancelled                                       75  stopped as asked
//   OutOfRange                                      76  loss not finite
int ExitCode(const absl::Status& status);

}  // namespace moe

#endif  // COMM_BASE_EXIT_CODE_H_
