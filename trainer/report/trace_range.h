#ifndef TRAINER_REPORT_TRACE_RANGE_H_
#define TRAINER_REPORT_TRACE_RANGE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "comm/process_group.h"
#include "comm/trace.h"
#include "data/storage/file_system.h"
#include "trainer/config/step_range.h"

namespace moe {

// One rank's trace in Chrome's trace event format (Google's "Trace Event
// Format"), which chrome://tracing and ui.perfetto.dev read. The process is the
// rank; its first row shows the stages and within them the waits, the second
// the collectives, which overlap. Times are microseconds since `origin` on the
// clock of rank 0, which is `clock_offset` nanoseconds ahead of this rank's.
std::string TraceJson(const std::vector<TraceEvent>& events, int rank,
                      int64_t origin, int64_t clock_offset);

// Traces some steps of a run into a file a rank. All methods are collective.
class TraceRange {
 public:
  TraceRange(const StepRange& range, FileSystem& files,
             const std::string& directory, ProcessGroup& world)
      : range_(range), files_(files), directory_(directory), world_(world) {}

  // Before a step: begins where the range does.
  absl::Status BeforeStep(int64_t step);
  // After it, at the end of the range or where the run is `over`, writes
  // DIRECTORY/step_A_to_B_rank_R.json. The same status on all ranks; Aborted:
  // a disk refuses. OK and `written` set: the files are there.
  absl::Status AfterStep(int64_t step, bool over, bool* written);

 private:
  const StepRange range_;
  FileSystem& files_;
  const std::string directory_;
  ProcessGroup& world_;
  int64_t origin_ = 0;        // of rank 0's clock
  int64_t clock_offset_ = 0;  // rank 0's clock minus this one's
  int64_t begun_step_ = 0;    // 0: not
};

}  // namespace moe

#endif  // TRAINER_REPORT_TRACE_RANGE_H_
