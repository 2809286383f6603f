#include "trainer/report/run_summary.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "moe/model_config.h"
#include "trainer/config/units.h"

namespace moe {
namespace {

// Those before a change of the batch are not counted with these.
std::string Steps(const RunLength& length, int64_t step) {
  if (length.changes().empty()) return WithCommas(length.last_step(), "step");
  return WithCommas(length.last_step() - step, "more step");
}

}  // namespace

std::vector<std::string> RunSummary(const TrainConfig& config, const Mesh& mesh,
                                    const RunLength& length, int64_t step) {
  const ParameterCounts counts = CountParameters(config.model());
  const RouterConfig& router = config.router();
  const BatchConfig& batch = config.batch();
  std::vector<std::string> lines;
  lines.push_back(absl::StrCat("training ", WithCommas(counts.total),
                               " parameters (", WithCommas(counts.active),
                               " active for a token) on ", mesh.ToString()));
  lines.push_back(absl::StrFormat(
      "%s of %s; auxiliary loss %s over a %s, %.3g at balance",
      Steps(length, step),
      WithCommas(int64_t{batch.global_size()} * batch.sequence_length(),
                 "token"),
      RouterConfig::AuxLossSemantics_Name(router.aux_loss_semantics()),
      RouterConfig::AuxLossScope_Name(router.aux_loss_scope()),
      AuxLossAtBalance(config.model(), router)));
  if (router.capacity_factor() != 0) {
    lines.push_back(absl::StrFormat(
        "capacity %s rows of each expert a sequence, others dropped by %s",
        WithCommas(
            ExpertCapacity(config.model(), router, batch.sequence_length())),
        RouterConfig::DropPolicy_Name(router.drop_policy())));
  }
  return lines;
}

}  // namespace moe
