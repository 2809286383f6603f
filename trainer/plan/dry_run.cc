#include "trainer/plan/dry_run.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/base/check.h"
#include "comm/base/counted.h"
#include "comm/base/status_macros.h"
#include "trainer/config/batch_plan.h"
#include "trainer/config/config_check.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/layout.h"
#include "trainer/config/units.h"

namespace moe {
namespace {

// One line of the text: what, how much, and a remark.
std::string Line(absl::string_view what, absl::string_view value,
                 absl::string_view remark = "") {
  std::string line = absl::StrFormat("  %-26s %18s", what, value);
  if (!remark.empty()) absl::StrAppend(&line, "  ", remark);
  return line + "\n";
}

// Nothing where all rows reach their experts.
std::string CapacityText(const TrainConfig& config) {
  const RouterConfig& router = config.router();
  if (router.capacity_factor() == 0) return "";
  const int64_t rows =
      ExpertCapacity(config.model(), router, config.batch().sequence_length());
  return Line(
      "capacity", WithCommas(rows),
      absl::StrCat("rows of each expert a sequence, dropped by ",
                   RouterConfig::DropPolicy_Name(router.drop_policy())));
}

std::string ModelText(const DryRun& run) {
  const ModelConfig& model = run.config.model();
  const RouterConfig& router = run.config.router();
  return absl::StrCat(
      "Model\n", Line("parameters", WithCommas(run.parameters.total)),
      Line("active for a token", WithCommas(run.parameters.active)),
      Line("layers", WithCommas(model.num_hidden_layers())),
      Line("experts", WithCommas(model.num_local_experts()),
           absl::StrCat("in each layer, ", model.num_experts_per_tok(),
                        " for each token")),
      CapacityText(run.config),
      Line("auxiliary loss",
           absl::StrFormat("%g", AuxLossAtBalance(model, router)),
           absl::StrFormat(
               "at perfect balance (%s over a %s), weighs %g",
               RouterConfig::AuxLossSemantics_Name(router.aux_loss_semantics()),
               RouterConfig::AuxLossScope_Name(router.aux_loss_scope()),
               router.aux_loss_coefficient())));
}

std::string StepText(const DryRun& run) {
  const BatchConfig& batch = run.config.batch();
  return absl::StrCat(
      "Step\n",
      Line("steps", WithCommas(StepsOf(run.config)),
           WithCommas(StepsOf(run.config) * run.tokens_per_step, "token")),
      Line("tokens a step", WithCommas(run.tokens_per_step),
           absl::StrCat(Counted(batch.global_size(), "sequence"), " of ",
                        batch.sequence_length())),
      Line(run.mesh.tensor() == 1 ? "sequences a rank"
                                  : "sequences a tensor group",
           WithCommas(run.sequences_per_rank),
           absl::StrCat(
               "at most, in ", Counted(run.micro_steps, "micro-step"), " of ",
               std::min<int64_t>(batch.micro_size(), run.sequences_per_rank))),
      Line("work a token", FormatDecimal(run.flops_per_token, "FLOP"),
           "forward and backward"),
      Line("computed again",
           FormatDecimal(run.recomputed_flops_per_token, "FLOP"),
           absl::StrFormat(
               "%.0f %% of that: run.recompute is %s",
               100 * run.recomputed_flops_per_token / run.flops_per_token,
               RunConfig::Recompute_Name(run.config.run().recompute()))),
      Line("work a step",
           FormatDecimal(
               run.flops_per_token * static_cast<double>(run.tokens_per_step),
               "FLOP"),
           "all ranks together"));
}

std::string MemoryText(const DryRun& run) {
  const RankMemory& memory = run.memory;
  const bool has_masters =
      run.config.run().compute_dtype() == RunConfig::BFLOAT16;
  return absl::StrCat(
      "Memory of the largest rank\n",
      Line("weights", FormatBytes(memory.weights)),
      Line("master weights", FormatBytes(memory.masters),
           has_masters ? "float32, of its shard" : "the weights are float32"),
      Line("moments", FormatBytes(memory.moments), "two, of its shard"),
      Line("gradients", FormatBytes(memory.gradients), "float32"),
      Line("activations", FormatBytes(memory.activations),
           "at even expert load"),
      Line("scratch", FormatBytes(memory.scratch)),
      Line("messages", FormatBytes(memory.exchange)),
      Line("snapshot", FormatBytes(memory.snapshot), "of a checkpoint"),
      Line("program", FormatBytes(memory.process), "with its libraries"),
      Line("total", FormatBytes(memory.Total())),
      Line("received rows", FormatBytes(memory.received_rows),
           "of the activations"),
      Line("the same at double load",
           FormatBytes(memory.received_rows_at_double_load),
           run.config.router().capacity_factor() == 0
               ? "if its experts get twice an even share"
               : "or all that the capacity lets in"),
      Line("more at double load", FormatBytes(memory.double_load),
           "of activations and scratch"));
}

// What a group's messages are about.
absl::string_view Purpose(Axis axis, bool force_balance) {
  switch (axis) {
    case Axis::kWorld:
      return "norms, gates: gradients, weights; losses";
    case Axis::kData:
      return "attention, vocabulary: gradients, weights";
    case Axis::kTensor:
      return "tokens of attention and vocabulary";
    case Axis::kExpert:
      return force_balance ? "token rows" : "token rows, at even load";
    case Axis::kExpertReplica:
      return "experts: gradients, weights";
  }
  CHECK(false && "not an Axis");
  return "";
}

std::string TrafficText(const DryRun& run) {
  std::string text = "Sent by the last rank in a step\n";
  for (Axis axis : kAllAxes) {
    const int others = run.mesh.Size(axis) - 1;
    if (others == 0) continue;
    const int64_t bytes = run.traffic[axis];
    absl::StrAppend(
        &text,
        Line(absl::StrCat(Name(axis), " group"),
             absl::StrCat(WithCommas(bytes), " B"),
             absl::StrCat(FormatBytes(bytes), " to ",
                          Counted(others, "other rank"), ": ",
                          Purpose(axis, run.config.router().force_balance()))));
  }
  if (run.mesh.world() == 1) text += "  nothing: it is alone\n";
  return text;
}

}  // namespace

absl::StatusOr<DryRun> MakeDryRun(const TrainConfig& config, int world) {
  RETURN_IF_ERROR(ValidateConfig(config, world));
  ASSIGN_OR_RETURN(const Mesh mesh, MakeMesh(config, world));
  ASSIGN_OR_RETURN(const TrainConfig resolved,
                   ResolveConfig(config, world, /*cores_per_rank=*/1));
  const BatchConfig& batch = resolved.batch();
  const BatchPlan plan(batch.global_size(), batch.micro_size(), mesh.data());
  return DryRun{
      .config = resolved,
      .mesh = mesh,
      .parameters = CountParameters(resolved.model()),
      .tokens_per_step = int64_t{batch.global_size()} * batch.sequence_length(),
      .sequences_per_rank = plan.OfRank(mesh.data() - 1).count,
      .micro_steps = plan.num_micro_steps(),
      .memory = PlanMemory(resolved, mesh),
      .traffic = PlanStep(resolved, mesh, world - 1).traffic,
      .flops_per_token =
          ModelFlopsPerToken(resolved.model(), batch.sequence_length()),
      .recomputed_flops_per_token = RecomputedFlopsPerToken(
          resolved.model(), batch.sequence_length(), RecomputeOf(resolved))};
}

std::string DryRunText(const DryRun& run) {
  return absl::StrCat(ModelText(run), "Layout\n  ", run.mesh.ToString(), "\n",
                      StepText(run), MemoryText(run), TrafficText(run));
}

}  // namespace moe
