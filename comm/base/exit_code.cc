#include "comm/base/exit_code.h"

namespace moe {

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kAlreadyExists:
      return 64;
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kFailedPrecondition:
      return 65;
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnimplemented:
      return 69;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return 71;
    case absl::StatusCode::kAborted:
      return 74;
    case absl::StatusCode::kCancelled:
      return 75;
    case absl::StatusCode::kOutOfRange:
      return 76;
    default:
      return 70;
  }
}

}  // namespace moe
