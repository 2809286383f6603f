#include "trainer/plan/step_plan.h"

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "comm/activity.h"
#include "comm/base/buffer.h"
#include "comm/base/check.h"
#include "comm/plan_context.h"
#include "comm/plan_group.h"
#include "comm/process_groups.h"
#include "data/batch_loader.h"
#include "data/corpus.h"
#include "moe/plan/plan_kernels.h"
#include "trainer/config/batch_plan.h"
#include "trainer/step/trainer.h"

namespace moe {
namespace {

GroupPlace PlaceOf(const Mesh& mesh, Axis axis, int rank) {
  return {mesh.Size(axis), mesh.Index(axis, rank)};
}

BatchPlan BatchOf(const TrainConfig& config, const Mesh& mesh) {
  return BatchPlan(config.batch().global_size(), config.batch().micro_size(),
                   mesh.data());
}

// Data of which only the shape matters: nobody reads them.
class NoSamples final : public SampleSequence {
 public:
  int64_t samples_per_epoch() const override { return 1; }
  int64_t SampleAt(int64_t) const override { return 0; }
  absl::Status Read(int64_t, absl::Span<int32_t>, absl::Span<int32_t>,
                    absl::Span<int32_t>) const override {
    return absl::InternalError("a plan has no data");
  }
};

// The load of all micro-steps of a step, which are alike.
PlanLoad LoadOf(const TrainConfig& config, const Mesh& mesh, int rank,
                ExpertShare share) {
  const BatchPlan batch = BatchOf(config, mesh);
  const int64_t length = config.batch().sequence_length();
  std::vector<int64_t> tokens_P;
  for (int member : mesh.Members(Axis::kExpert, rank)) {
    const int64_t sequences =
        batch.OfMicroStep(mesh.Index(Axis::kData, member), 0).count;
    tokens_P.push_back(sequences * length / mesh.tensor());
  }
  return PlanLoad(config.model(), config.router(), length,
                  PlaceOf(mesh, Axis::kExpert, rank), tokens_P, share);
}

ProcessGroups GroupsOf(const Mesh& mesh, int rank, const PlanLoad& load) {
  ProcessGroups groups = ProcessGroups::CreateSingle();
  for (Axis axis : kAllAxes) {
    const GroupPlace place = PlaceOf(mesh, axis, rank);
    if (axis == Axis::kExpert) {
      groups.Replace(axis, std::make_unique<PlanExpertGroup>(place, load));
    } else {
      groups.Replace(axis, std::make_unique<PlanGroup>(Name(axis), place));
    }
  }
  return groups;
}

// This rank's sequences of a step, at addresses that nobody reads.
class PlannedTokens {
 public:
  PlannedTokens(PlanContext& context, const TrainConfig& config,
                int64_t sequences) {
    const int64_t tokens = sequences * config.batch().sequence_length();
    absl::StatusOr<Buffer> buffer =
        context.Allocate(tokens * SizeOf(DType::kInt32));
    CHECK(buffer.ok());
    buffer_ = *std::move(buffer);
    const absl::Span<const int32_t> all(
        static_cast<const int32_t*>(buffer_.data()),
        static_cast<size_t>(tokens));
    block_ = {.count = sequences,
              .inputs = all,
              .targets = all,
              .positions = config.data().reset_attention()
                               ? all
                               : absl::Span<const int32_t>(),
              .num_targets = tokens};
  }

  const TokenBlock& block() const { return block_; }

 private:
  Buffer buffer_;
  TokenBlock block_;
};

// Runs a step whose micro-steps are alike.
StepPlan RunStep(const TrainConfig& config, const Mesh& mesh, int rank,
                 ExpertShare share) {
  PlanContext context;
  PlanLoad load = LoadOf(config, mesh, rank, share);
  PlanKernels kernels(context, load);
  const ProcessGroups groups = GroupsOf(mesh, rank, load);
  const NoSamples samples;
  const absl::StatusOr<std::unique_ptr<Trainer>> trainer =
      Trainer::CreateUninitialised(config, {.mesh = mesh,
                                            .groups = groups,
                                            .kernels = kernels,
                                            .train = samples});
  CHECK(trainer.ok());
  const PlannedTokens tokens(
      context, config,
      BatchOf(config, mesh).OfRank(mesh.Index(Axis::kData, rank)).count);
  CHECK((*trainer)->TrainStepOn(tokens.block()).ok());

  const Pass& pass = (*trainer)->pass();
  StepPlan plan = {.saved_bytes = pass.saved.peak_bytes(),
                   .routing_bytes = pass.routing.peak_bytes(),
                   .scratch_bytes = pass.scratch.peak_bytes(),
                   .received_rows = 0,
                   .traffic = {}};
  for (const BlockSaved& block : pass.blocks)
    plan.received_rows += block.moe.plan.num_received_rows;
  for (Axis axis : kAllAxes)
    plan.traffic[axis] = groups[axis].traffic().sent_bytes;
  return plan;
}

}  // namespace

// All micro-steps but the last are alike: in each of them every rank has as
// many sequences as a micro-step takes. So a step of the last one alone, of one
// full one and of two of them tell what many cost.
StepPlan PlanStep(const TrainConfig& config, const Mesh& mesh, int rank,
                  ExpertShare share) {
  const RehearsalScope rehearsal;
  const auto of = [&](int64_t sequences) {
    TrainConfig part = config;
    part.mutable_batch()->set_global_size(static_cast<int32_t>(sequences));
    return RunStep(part, mesh, rank, share);
  };
  const BatchPlan batch = BatchOf(config, mesh);
  const int64_t full_micro_steps = batch.num_micro_steps() - 1;
  const int64_t full =
      int64_t{config.batch().micro_size()} * mesh.data();  // sequences of one
  StepPlan plan = of(batch.global_size() - full_micro_steps * full);
  if (full_micro_steps == 0) return plan;
  const StepPlan one = of(full);
  const StepPlan two = of(2 * full);
  const RankTraffic last = plan.traffic;
  plan = one;
  for (Axis axis : kAllAxes) {
    plan.traffic[axis] =
        last[axis] + full_micro_steps * (two.traffic[axis] - one.traffic[axis]);
  }
  return plan;
}

}  // namespace moe
