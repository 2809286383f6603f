#include "trainer/report/metrics.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "comm/base/status_macros.h"
#include "trainer/report/metrics_repair.h"
#include "trainer/step/batch_digest.h"

namespace moe {
namespace {

std::string Number(double value) {
  return std::isfinite(value) ? absl::StrFormat("%.9g", value) : "null";
}

struct LayerKey {
  const char* name;
  double (*get)(const LayerRouting& layer);
};

constexpr LayerKey kLayerKeys[] = {
    {"expert_load_max_over_mean",
     [](const LayerRouting& l) { return l.load_max_over_mean; }},
    {"expert_load_min_over_mean",
     [](const LayerRouting& l) { return l.load_min_over_mean; }},
    {"expert_load_cv", [](const LayerRouting& l) { return l.load_cv; }},
    {"expert_load_entropy",
     [](const LayerRouting& l) { return l.load_entropy; }},
    {"experts_without_tokens",
     [](const LayerRouting& l) {
       return static_cast<double>(l.experts_without_tokens);
     }},
    {"dropped_fraction",
     [](const LayerRouting& l) { return l.dropped_fraction; }},
    {"router_top_probability",
     [](const LayerRouting& l) { return l.top_probability; }},
    {"layer_aux_loss", [](const LayerRouting& l) { return l.aux_loss; }},
    {"layer_z_loss", [](const LayerRouting& l) { return l.z_loss; }}};

// "[1.5,2,...]", a number a layer.
std::string PerLayer(const StepReport& report, const LayerKey& key) {
  auto format = [&](std::string* out, const LayerRouting& layer) {
    absl::StrAppend(out, Number(key.get(layer)));
  };
  return absl::StrCat("[", absl::StrJoin(report.layers, ",", format), "]");
}

// {"attention":0.25,...}, with four digits.
std::string SharesObject(const PhaseShares& shares) {
  std::string text;
  for (size_t i = 0; i < shares.size(); ++i) {
    absl::StrAppend(&text, text.empty() ? "{\"" : ",\"", PhaseShareName(i),
                    "\":", absl::StrFormat("%.4g", shares[i]));
  }
  return absl::StrCat(text, "}");
}

// The lines of later steps go, and those that are no metrics into
// `path`.rejected, which is on the disk before they leave `path`.
absl::Status Repair(FileSystem& files, const std::string& path,
                    int64_t last_step,
                    const std::function<void(const std::string&)>& say) {
  if (!files.Exists(path)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t size, files.FileSize(path));
  ASSIGN_OR_RETURN(const std::string text, files.ReadFile(path, size));
  const RepairedMetrics repaired = RepairMetrics(text, last_step);
  if (repaired.num_rejected > 0) {
    const std::string aside = absl::StrCat(path, ".rejected");
    ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file,
                     files.OpenForAppend(aside));
    RETURN_IF_ERROR(file->Append(repaired.rejected));
    RETURN_IF_ERROR(file->Sync());
    RETURN_IF_ERROR(file->Close());
    say(absl::StrCat(
        path, " holds ", repaired.num_rejected,
        repaired.num_rejected == 1 ? " line that is" : " lines that are",
        " no metrics, first line ", repaired.first_rejected, "; moved to ",
        aside));
  }
  if (repaired.kept == text) return absl::OkStatus();
  return WriteFileAtomically(files, path, repaired.kept);
}

}  // namespace

std::string MetricsLine(const StepReport& report, const StepCost& cost) {
  std::string line = absl::StrCat(
      "{\"step\":", report.step, ",\"tokens\":", report.tokens, ",\"loss\":",
      report.has_targets ? Number(report.losses.cross_entropy) : "null",
      ",\"aux_loss\":", Number(report.losses.aux),
      ",\"z_loss\":", Number(report.losses.z),
      ",\"grad_norm\":", Number(report.grad_norm),
      ",\"learning_rate\":", Number(report.learning_rate),
      ",\"batch_digest\":\"", BatchDigestText(report.batch_digest), "\"",
      ",\"step_seconds\":", Number(cost.step_seconds),
      ",\"tokens_per_second\":", Number(cost.tokens_per_second),
      ",\"mfu\":", Number(cost.mfu), ",\"memory_bytes\":", cost.memory_bytes,
      ",\"skipped_steps\":", report.skipped_steps);
  for (const LayerKey& key : kLayerKeys)
    absl::StrAppend(&line, ",\"", key.name, "\":", PerLayer(report, key));
  absl::StrAppend(&line,
                  ",\"checkpoint_seconds\":", Number(cost.checkpoint_seconds),
                  ",\"straggler_rank\":", cost.straggler.rank,
                  ",\"straggler_seconds\":", Number(cost.straggler.seconds),
                  ",\"stage_share\":", SharesObject(cost.phase_shares));
  if (cost.valid_loss.has_value())
    absl::StrAppend(&line, ",\"valid_loss\":", Number(*cost.valid_loss));
  absl::StrAppend(&line, "}");
  return line;
}

absl::StatusOr<std::unique_ptr<MetricsLog>> MetricsLog::Open(
    FileSystem& files, const std::string& path, int64_t last_step,
    const std::function<void(const std::string&)>& say) {
  RETURN_IF_ERROR(Repair(files, path, last_step, say));
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file,
                   files.OpenForAppend(path));
  return std::unique_ptr<MetricsLog>(new MetricsLog(std::move(file)));
}

absl::Status MetricsLog::Write(const StepReport& report, const StepCost& cost) {
  return file_->Append(absl::StrCat(MetricsLine(report, cost), "\n"));
}

absl::Status MetricsLog::Sync() { return file_->Sync(); }

absl::Status MetricsLog::Close() { return file_->Close(); }

}  // namespace moe
