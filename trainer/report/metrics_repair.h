#ifndef TRAINER_REPORT_METRICS_REPAIR_H_
#define TRAINER_REPORT_METRICS_REPAIR_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace moe {

// What becomes of a metrics.jsonl whose run goes on after some step.
struct RepairedMetrics {
  // The lines of steps up to that one; the run writes later ones again.
  std::string kept;
  // The lines that are no JSON object with a whole number under "step": torn
  // by a crash, or of somebody else.
  std::string rejected;
  int64_t num_rejected = 0;
  int64_t first_rejected = 0;  // its number in the file; the first is 1
};
// Every line is judged for itself: one that is broken costs no other. All
// lines of the result end with a newline; empty ones are left out.
RepairedMetrics RepairMetrics(absl::string_view text, int64_t last_step);

}  // namespace moe

#endif  // TRAINER_REPORT_METRICS_REPAIR_H_
