#include "trainer/metrics.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "comm/status_macros.h"

namespace moe {
namespace {

std::string Number(double value) {
  return std::isfinite(value) ? absl::StrFormat("%.9g", value) : "null";
}

// "[1.5,2,...]", a number a layer.
template <typename Get>
std::string PerLayer(const StepReport& report, Get get) {
  auto format = [&](std::string* out, const LayerLoad& layer) {
    absl::StrAppend(out, Number(get(layer)));
  };
  return absl::StrCat("[", absl::StrJoin(report.layers, ",", format), "]");
}

}  // namespace

std::string MetricsLine(const StepReport& report, const StepCost& cost) {
  std::string line = absl::StrCat(
      "{\"step\":", report.step, ",\"tokens\":", report.tokens,
      ",\"loss\":", Number(report.losses.cross_entropy),
      ",\"aux_loss\":", Number(report.losses.aux),
      ",\"z_loss\":", Number(report.losses.z),
      ",\"grad_norm\":", Number(report.grad_norm),
      ",\"learning_rate\":", Number(report.learning_rate),
      ",\"step_seconds\":", Number(cost.step_seconds),
      ",\"tokens_per_second\":", Number(cost.tokens_per_second),
      ",\"mfu\":", Number(cost.mfu), ",\"memory_bytes\":", cost.memory_bytes);
  absl::StrAppend(
      &line, ",\"expert_load_max_over_mean\":",
      PerLayer(report, [](const LayerLoad& l) { return l.max_over_mean; }),
      ",\"experts_without_tokens\":", PerLayer(report, [](const LayerLoad& l) {
        return static_cast<double>(l.experts_without_tokens);
      }));
  // Dropless: every row arrives.
  absl::StrAppend(&line, ",\"dropped_fraction\":",
                  PerLayer(report, [](const LayerLoad&) { return 0.0; }));
  if (cost.valid_loss.has_value())
    absl::StrAppend(&line, ",\"valid_loss\":", Number(*cost.valid_loss));
  absl::StrAppend(&line, "}");
  return line;
}

absl::StatusOr<std::unique_ptr<MetricsLog>> MetricsLog::Open(
    FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file,
                   files.OpenForAppend(path));
  return std::unique_ptr<MetricsLog>(new MetricsLog(std::move(file)));
}

absl::Status MetricsLog::Write(const StepReport& report, const StepCost& cost) {
  return file_->Append(absl::StrCat(MetricsLine(report, cost), "\n"));
}

absl::Status MetricsLog::Close() { return file_->Close(); }

}  // namespace moe
