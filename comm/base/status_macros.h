#ifndef COMM_BASE_STATUS_MACROS_H_
#define COMM_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

// RETURN_IF_ERROR(expression): returns the status if it is not OK.
#define RETURN_IF_ERROR(expression)                                 \
  do {                                                              \
    if (absl::Status moe_status_ = (expression); !moe_status_.ok()) \
      return moe_status_;                                           \
  } while (false)

// ASSIGN_OR_RETURN(auto x, expression): x from a StatusOr, or its status.
#define ASSIGN_OR_RETURN(left, expression) \
  MOE_ASSIGN_OR_RETURN_(MOE_CONCAT_(moe_status_or_, __LINE__), left, expression)

#define MOE_CONCAT_INNER_(a, b) a##b
#define MOE_CONCAT_(a, b) MOE_CONCAT_INNER_(a, b)
#define MOE_ASSIGN_OR_RETURN_(temporary, left, expression)   \
  auto temporary = (expression);                             \
  if (!temporary.ok()) return std::move(temporary).status(); \
  left = std::move(temporary).value()

namespace moe {

// The same code and payloads with `context: ` put before the message; OK stays
// OK.
inline absl::Status Annotate(const absl::Status& status,
                             absl::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(),
                         absl::StrCat(context, ": ", status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    annotated.SetPayload(url, payload);
  });
  return annotated;
}

}  // namespace moe

#endif  // COMM_BASE_STATUS_MACROS_H_
