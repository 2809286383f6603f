#ifndef TRAINER_REPORT_METRICS_H_
#define TRAINER_REPORT_METRICS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/storage/file_system.h"
#include "trainer/report/phase_shares.h"
#include "trainer/report/straggler.h"
#include "trainer/step/trainer.h"

namespace moe {

// What a logged step tells beside the trainer's report.
struct StepCost {
  double step_seconds = 0;
  double tokens_per_second = 0;
  // Model FLOPs over what the cores in use could do, 0 to 1.
  double mfu = 0;
  // Resident memory of the largest rank.
  int64_t memory_bytes = 0;
  // Time that training stood still for checkpoints since the last line.
  double checkpoint_seconds = 0;
  Straggler straggler = {};
  PhaseShares phase_shares = {};  // since the last line
  // At validation steps; not finite: see Trainer::ValidationLoss.
  std::optional<double> valid_loss = std::nullopt;
};

// One line of metrics.jsonl, without its newline: a JSON object with the keys
// of the README's table, numbers with nine digits. NaN and infinity are null,
// and so is the loss of a step without targets.
std::string MetricsLine(const StepReport& report, const StepCost& cost);

// metrics.jsonl, a line a logged step, each handed to the system at once.
class MetricsLog {
 public:
  // A run that goes on after `last_step` writes its later steps again: their
  // lines are taken away first. Lines that are no metrics, like one that a
  // crash left unfinished, are moved to `path`.rejected, and one call of `say`
  // tells of them.
  static absl::StatusOr<std::unique_ptr<MetricsLog>> Open(
      FileSystem& files, const std::string& path, int64_t last_step,
      const std::function<void(const std::string&)>& say);
  absl::Status Write(const StepReport& report, const StepCost& cost);
  absl::Status Sync();
  absl::Status Close();

 private:
  explicit MetricsLog(std::unique_ptr<WritableFile> file)
      : file_(std::move(file)) {}
  std::unique_ptr<WritableFile> file_;
};

}  // namespace moe

#endif  // TRAINER_REPORT_METRICS_H_
