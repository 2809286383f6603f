// Training with some parameters frozen: they cost their weights and no more,
// and what is trained does not notice.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/types/span.h"
#include "comm/base/buffer.h"
#include "comm/trace.h"
#include "comm/traffic.h"
#include "tests/mpi_test.h"
#include "tests/test_device.h"
#include "tests/trainer/frozen_fixture.h"
#include "tests/trainer/trainer_fixture.h"
#include "trainer/step/shard_map.h"

namespace moe {
namespace {

using testing::HasSubstr;

TEST_P(FrozenTest, FrozenBytesStayAndTrainedOnesChange) {
  const auto trainer = Make(Config(), Trained());
  const NamedBytes before = Weights(*trainer);
  // The start is the same as with everything trained.
  EXPECT_EQ(before, Weights(*Make(Config(), nullptr)));
  TrainSteps(*trainer, 3);
  const NamedBytes after = Weights(*trainer);
  for (const Parameter& parameter : (*trainer)->table().parameters()) {
    if (!parameter.local || parameter.slice.size() == 0) continue;
    EXPECT_EQ(parameter.trained, Trained()(parameter));
    if (parameter.trained) {
      EXPECT_NE(after.at(parameter.name), before.at(parameter.name))
          << parameter.name;
    } else {
      EXPECT_EQ(after.at(parameter.name), before.at(parameter.name))
          << parameter.name;
    }
  }
}

// This rank's gradients of a parameter's slice, with those that others own.
std::vector<float> SumsOfAllOwners(TestTrainer& trainer,
                                   const Parameter& parameter) {
  std::vector<float> sums(static_cast<size_t>(parameter.slice.size()));
  const auto all = HostValues<float>(trainer->gradients().Get(parameter));
  trainer->optimizer().ForEachOwned([&](const OwnedRun& run) {
    if (run.parameter.name != parameter.name) return;
    for (int64_t i = run.begin; i < run.begin + run.count; ++i)
      sums[static_cast<size_t>(i)] = all[static_cast<size_t>(i)];
  });
  // One rank's number and zeros: exact.
  EXPECT_TRUE(trainer.groups()[ReductionAxis(parameter.arena)]
                  .AllReduce(ViewOf(absl::MakeSpan(sums)), ReduceOp::kSum)
                  .ok());
  return sums;
}

// Before the first update forward and backward are the same.
TEST_P(FrozenTest, GradientsOfTheTrainedAreThoseOfTheWholeModel) {
  const auto part = Make(Config(), Trained());
  const auto whole = Make(Config(), nullptr);
  const absl::StatusOr<StepReport> ours = (*part)->TrainStep();
  const absl::StatusOr<StepReport> theirs = (*whole)->TrainStep();
  ASSERT_TRUE(ours.ok() && theirs.ok());
  EXPECT_EQ(ours->losses.cross_entropy, theirs->losses.cross_entropy);
  EXPECT_LT(ours->grad_norm, theirs->grad_norm) << "of the trained alone";
  EXPECT_GT(ours->grad_norm, 0);
  const auto in_whole = (*whole)->table().parameters();
  for (size_t i = 0; i < in_whole.size(); ++i) {
    const Parameter& in_part = (*part)->table().parameters()[i];
    if (!in_part.local || !in_part.trained) continue;
    EXPECT_EQ(SumsOfAllOwners(*part, in_part),
              SumsOfAllOwners(*whole, in_whole[i]))
        << in_part.name;
  }
}

// What a trainer allocates for its parameters, by the table.
int64_t ParameterBytes(const ParameterTable& table, const ShardMaps& shards) {
  int64_t bytes = 0;
  for (ArenaKind kind : kAllArenaKinds) {
    bytes += table.ArenaSize(kind) * SizeOf(table.ArenaDType(kind));
    if (!IsTrained(kind)) continue;
    const int64_t shard = shards[Index(kind)].shard_size();
    const bool has_masters = table.ArenaDType(kind) != DType::kFloat32;
    bytes += 4 * (table.ArenaSize(kind) + (has_masters ? 3 : 2) * shard);
  }
  return bytes;
}

// Of the sums of squares: a place for each segment of this rank.
int64_t SegmentBytes(TestTrainer& trainer) {
  int64_t segments = 0;
  for (ArenaKind kind : kTrainedArenaKinds) {
    segments += static_cast<int64_t>(
        SegmentsOfOwner(trainer->table(), kind, trainer->shards()[Index(kind)],
                        trainer.groups()[ReductionAxis(kind)].rank())
            .size());
  }
  return segments * 8;
}

TEST_P(FrozenTest, NothingButWeightsIsKeptOfTheFrozen) {
  const auto make = [](const TrainedPredicate& trained, int64_t& bytes) {
    const int64_t before = Buffer::live_bytes();
    auto trainer = Make(Config(), trained);
    bytes = Buffer::live_bytes() - before -
            ParameterBytes((*trainer)->table(), (*trainer)->shards()) -
            SegmentBytes(*trainer);
    return trainer;
  };
  int64_t rest_of_whole = 0;
  int64_t rest_of_part = 0;
  const auto whole = make(nullptr, rest_of_whole);
  const auto part = make(Trained(), rest_of_part);
  // Among ranks, what messages have taken for good differs as well.
  if (TestRuntime().world() == 1) {
    EXPECT_EQ(rest_of_part, rest_of_whole);
  }
  int64_t trained = 0;
  for (ArenaKind kind : kAllArenaKinds) {
    if (!IsTrained(kind)) {
      EXPECT_TRUE((*part)->gradients().arena(kind).is_null());
      EXPECT_EQ((*whole)->table().ArenaSize(kind), 0);
      continue;
    }
    EXPECT_LE((*part)->table().ArenaSize(kind),
              (*whole)->table().ArenaSize(kind));
    trained += (*part)->gradients().arena(kind).size();
  }
  for (const Parameter& parameter : (*part)->table().parameters()) {
    if (!parameter.local) continue;
    EXPECT_EQ(IsTrained(parameter.arena), parameter.trained);
    if (!parameter.trained) {
      EXPECT_TRUE((*part)->gradients().Get(parameter).is_null());
    }
  }
  (*part)->optimizer().ForEachOwned(
      [](const OwnedRun& run) { EXPECT_TRUE(run.parameter.trained); });
  int64_t in_whole = 0;
  for (ArenaKind kind : kTrainedArenaKinds)
    in_whole += (*whole)->table().ArenaSize(kind);
  EXPECT_LT(trained, in_whole);
}

// What a step sends of an arena: its gradients' sums and its new weights.
int64_t StepBytes(TestTrainer& trainer, ArenaKind kind) {
  const ProcessGroup& group = trainer.groups()[ReductionAxis(kind)];
  const GroupPlace place = {group.size(), group.rank()};
  const ShardMap& map = trainer->shards()[Index(kind)];
  int64_t bytes = 0;
  if (group.size() == 1) return bytes;
  for (int bucket = 0; bucket < map.num_buckets(); ++bucket) {
    const int64_t count = map.Slice(bucket, group.rank()).count;
    bytes += ReduceScatterBytes(place, count, DType::kFloat32) +
             AllGatherBytes(place, count, trainer->table().ArenaDType(kind));
  }
  return bytes;
}

// What else these groups carry, as sums of losses, is the same in both.
TEST_P(FrozenTest, AStepSendsNothingOfTheFrozen) {
  const auto part = Make(Config(), Trained());
  const auto whole = Make(Config(), nullptr);
  const auto sent = [](TestTrainer& trainer, Axis axis) {
    const int64_t before = trainer.groups()[axis].traffic().sent_bytes;
    TrainSteps(trainer, 1);
    return trainer.groups()[axis].traffic().sent_bytes - before;
  };
  for (ArenaKind kind : kTrainedArenaKinds) {
    const Axis axis = ReductionAxis(kind);
    EXPECT_EQ(sent(*whole, axis) - sent(*part, axis),
              StepBytes(*whole, kind) - StepBytes(*part, kind))
        << Name(axis);
  }
}

// Stages of backward, by layer.
std::set<std::pair<std::string, int>> BackwardStages(TestTrainer& trainer) {
  StartTrace(/*capacity=*/1 << 16);
  EXPECT_TRUE(trainer->TrainStep().ok());
  int64_t dropped = 0;
  std::set<std::pair<std::string, int>> stages;
  for (const TraceEvent& event : TakeTrace(&dropped)) {
    if (event.kind == TraceEvent::Kind::kPhase &&
        absl::StrContains(event.name, "backward"))
      stages.insert({event.name, event.position.layer});
  }
  EXPECT_EQ(dropped, 0);
  return stages;
}

TEST_P(FrozenTest, BackwardStopsBelowTheLowestTrained) {
  for (const auto recompute :
       {RunConfig::NONE, RunConfig::EXPERTS, RunConfig::BLOCK}) {
    TrainConfig config = Config();
    config.mutable_run()->set_recompute(recompute);
    const auto trainer = Make(config, Trained());
    const ParameterTable& table = (*trainer)->table();
    const int lowest = table.FirstTrained();
    const auto stages = BackwardStages(*trainer);
    for (int layer = 0; layer < table.num_layers(); ++layer) {
      EXPECT_EQ(stages.contains({"experts backward", layer}),
                table.moe(layer).end > lowest)
          << layer;
      EXPECT_EQ(stages.contains({"attention backward", layer}),
                table.attention(layer).end > lowest)
          << layer;
    }
    EXPECT_EQ(stages.contains({"embedding backward", -1}),
              table.embedding().end > lowest);
  }
}

INSTANTIATE_TEST_SUITE_P(All, FrozenTest,
                         testing::Combine(testing::ValuesIn(kFrozenCases),
                                          testing::Values(RunConfig::FLOAT32,
                                                          RunConfig::BFLOAT16),
                                          testing::Values(1, 2)),
                         FrozenCaseName);
TEST(FrozenParameters, OfOneStackAreFrozenTogether) {
  const TrainConfig config = SmallConfig();
  const Mesh mesh = *Mesh::Create(1, 1, 1, 8);
  const ProcessGroups groups = ProcessGroups::CreateSingle();
  const std::unique_ptr<Kernels> kernels = TestKernels(/*threads=*/1);
  const RandomSamples samples(config.model().vocab_size(),
                              config.batch().sequence_length());
  const absl::Status status =
      Trainer::Create(config, {.mesh = mesh,
                               .groups = groups,
                               .kernels = *kernels,
                               .train = samples,
                               .trained =
                                   [](const Parameter& parameter) {
                                     return parameter.role != Role::kKey;
                                   }})
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("must be trained or frozen together"));
}

}  // namespace
}  // namespace moe
