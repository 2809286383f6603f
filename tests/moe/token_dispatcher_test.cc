#include "moe/layers/token_dispatcher.h"

#include <sched.h>

#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "comm/mpi/mpi_group.h"
#include "comm/process_groups.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/moe/layer_test.h"
#include "tests/mpi_test.h"

namespace moe {
namespace {

// Who has how many tokens and where they go: a pure function, so that each
// rank knows what every rank has.
struct Scenario {
  std::string name;
  int64_t num_experts = 8;
  int64_t top_k = 2;
  int64_t (*tokens)(int rank) = nullptr;
  // First choice of a token; choice k goes k experts further.
  int64_t (*first_expert)(int rank, int64_t token) = nullptr;
  DType dtype = DType::kFloat32;
  // Choices that the capacity dropped; null: none.
  bool (*dropped)(int rank, int64_t token, int64_t k) = nullptr;
};

void PrintTo(const Scenario& scenario, std::ostream* out) {
  *out << scenario.name;
}

int64_t UnlikeTokens(int rank) { return 5 + 3 * rank; }
int64_t Scattered(int rank, int64_t token) {
  return rank * 3 + token * token * 5 + token;
}
int64_t ToOne(int /*rank*/, int64_t /*token*/) { return 3; }

const Scenario kScenarios[] = {
    {"Scattered", 8, 2, UnlikeTokens, Scattered},
    {"ScatteredBFloat16", 8, 2, UnlikeTokens, Scattered, DType::kBFloat16},
    {"TopOne", 8, 1, UnlikeTokens, Scattered},
    {"FourExperts", 4, 3, UnlikeTokens, Scattered},
    {"OneExpertTakesAll", 8, 1, UnlikeTokens, ToOne},
    {"TwoExpertsTakeAll", 8, 2, UnlikeTokens, ToOne},
    {"OnlyTheFirstRankHasTokens", 8, 2,
     [](int rank) -> int64_t { return rank == 0 ? 6 : 0; }, Scattered},
    {"OnlyTheFirstRankHasNone", 8, 2,
     [](int rank) -> int64_t { return rank == 0 ? 0 : 4; }, Scattered},
    {"NobodyHasTokens", 8, 2, [](int) -> int64_t { return 0; }, Scattered},
    {"SomeDropped", 8, 2, UnlikeTokens, Scattered, DType::kFloat32,
     [](int rank, int64_t token, int64_t k) {
       return (rank + token + 2 * k) % 3 == 0;
     }},
    {"SomeDroppedBFloat16", 4, 3, UnlikeTokens, Scattered, DType::kBFloat16,
     [](int, int64_t token, int64_t k) { return (token + k) % 4 != 0; }},
    {"AllDroppedOnTheFirstRank", 8, 2, UnlikeTokens, Scattered, DType::kFloat32,
     [](int rank, int64_t, int64_t) { return rank == 0; }},
    {"AllDroppedButOnTheFirstRank", 8, 2, UnlikeTokens, Scattered,
     DType::kFloat32, [](int rank, int64_t, int64_t) { return rank != 0; }},
    {"AllDropped", 8, 2, UnlikeTokens, Scattered, DType::kFloat32,
     [](int, int64_t, int64_t) { return true; }},
    {"OneExpertKeepsTwoOfEachRank", 8, 1, UnlikeTokens, ToOne, DType::kFloat32,
     [](int, int64_t token, int64_t) { return token >= 2; }}};

class TokenDispatcherTest : public LayerTest,
                            public testing::WithParamInterface<Scenario> {
 protected:
  static constexpr int64_t kWidth = 3;
  static constexpr int64_t kChunks = 3;

  TokenDispatcherTest()
      : scenario_(GetParam()),
        rank_(TestRuntime().rank()),
        world_(TestRuntime().world()),
        groups_(MakeGroups()),
        dispatcher_(groups_, scenario_.num_experts),
        tokens_(scenario_.tokens(rank_)) {
    context_.compute_dtype = scenario_.dtype;
    expert_ids_TK_ = Make({tokens_, scenario_.top_k}, DType::kInt32);
    weights_TK_ = Make({tokens_, scenario_.top_k});
    std::vector<int32_t> ids;
    std::vector<float> weights;
    for (int64_t t = 0; t < tokens_; ++t) {
      for (int64_t k = 0; k < scenario_.top_k; ++k) {
        ids.push_back(static_cast<int32_t>(Choice(rank_, t, k)));
        weights.push_back(Weight(rank_, t, k));
      }
    }
    SetHostValues(expert_ids_TK_, ids);
    SetHostValues(weights_TK_, weights);
    EXPECT_TRUE(dispatcher_.MakePlan(context_, plan_, expert_ids_TK_).ok());
  }

  ProcessGroups MakeGroups() const {
    const Mesh mesh =
        Mesh::Create(world_, 1, world_, static_cast<int>(scenario_.num_experts))
            .value();
    ProcessGroups groups = MakeMpiGroups(TestRuntime(), mesh).value();
    UseTestDevice(groups);
    return groups;
  }

  // -1: dropped.
  int64_t Choice(int rank, int64_t token, int64_t k) const {
    if (scenario_.dropped != nullptr && scenario_.dropped(rank, token, k))
      return -1;
    return (scenario_.first_expert(rank, token) + k) % scenario_.num_experts;
  }
  static float Weight(int rank, int64_t token, int64_t k) {
    return static_cast<float>(100 * rank + 10 * token + k);
  }
  int64_t NumKept(int64_t token) const {
    int64_t kept = 0;
    for (int64_t k = 0; k < scenario_.top_k; ++k)
      kept += Choice(rank_, token, k) >= 0 ? 1 : 0;
    return kept;
  }
  int64_t num_local_experts() const { return scenario_.num_experts / world_; }

  // Sum over all ranks of this one's number.
  double Total(double mine) {
    EXPECT_TRUE(groups_.world()
                    .AllReduce(ViewOf(absl::MakeSpan(&mine, 1)), ReduceOp::kSum)
                    .ok());
    return mine;
  }

  const Scenario& scenario_;
  int rank_;
  int world_;
  ProcessGroups groups_;
  TokenDispatcher dispatcher_;
  int64_t tokens_;
  Tensor expert_ids_TK_;
  Tensor weights_TK_;
  DispatchPlan plan_;
};

TEST_P(TokenDispatcherTest, RowsArriveOrderedByExpertSourceAndToken) {
  Tensor x_TD = Make({tokens_, kWidth}, scenario_.dtype);
  for (int64_t t = 0; t < tokens_; ++t) {
    Set(x_TD, t * kWidth, static_cast<float>(rank_));
    Set(x_TD, t * kWidth + 1, static_cast<float>(t));
  }
  Tensor rows_RD;
  Tensor weight_R;
  ASSERT_TRUE(
      dispatcher_
          .Dispatch(context_, rows_RD, weight_R, plan_, x_TD, weights_TK_)
          .ok());
  reference::Vector rows;
  reference::Vector weights;
  std::vector<int64_t> offsets = {0};
  for (int64_t e = 0; e < num_local_experts(); ++e) {
    for (int source = 0; source < world_; ++source) {
      for (int64_t t = 0; t < scenario_.tokens(source); ++t) {
        for (int64_t k = 0; k < scenario_.top_k; ++k) {
          if (Choice(source, t, k) != rank_ * num_local_experts() + e) continue;
          rows.insert(rows.end(),
                      {static_cast<double>(source), static_cast<double>(t), 0});
          weights.push_back(Weight(source, t, k));
        }
      }
    }
    offsets.push_back(static_cast<int64_t>(weights.size()));
  }
  EXPECT_EQ(plan_.expert_offsets, offsets);
  EXPECT_EQ(plan_.num_received_rows, offsets.back());
  EXPECT_EQ(rows_RD.dtype(), scenario_.dtype);
  EXPECT_EQ(Values(rows_RD), rows);
  EXPECT_EQ(Values(weight_R), weights);
}

TEST_P(TokenDispatcherTest, CombineUndoesDispatch) {
  const Tensor x_TD = MakeNumbers({tokens_, kWidth}, rank_, scenario_.dtype);
  const Tensor out_TD = MakeNumbers({tokens_, kWidth}, rank_ + 1);
  reference::Vector expected = Values(out_TD);
  for (int64_t i = 0; i < x_TD.size(); ++i) {
    expected[static_cast<size_t>(i)] +=
        static_cast<double>(NumKept(i / kWidth)) * Get(x_TD, i);
  }
  Tensor rows_RD;
  Tensor weight_R;
  ASSERT_TRUE(
      dispatcher_
          .Dispatch(context_, rows_RD, weight_R, plan_, x_TD, weights_TK_)
          .ok());
  ASSERT_TRUE(dispatcher_.Combine(context_, out_TD, plan_, rows_RD).ok());
  EXPECT_EQ(Values(out_TD), expected);
}

// <Dispatch(x), y> over all ranks equals <x, the gradient of y>, exactly,
// since all numbers are small and whole.
TEST_P(TokenDispatcherTest, DispatchBackwardIsTheAdjointOfDispatch) {
  const Tensor x_TD = MakeNumbers({tokens_, kWidth}, rank_, scenario_.dtype);
  Tensor rows_RD;
  Tensor weight_R;
  ASSERT_TRUE(
      dispatcher_
          .Dispatch(context_, rows_RD, weight_R, plan_, x_TD, weights_TK_)
          .ok());
  const int64_t R = plan_.num_received_rows;
  const Tensor y_RD = MakeNumbers({R, kWidth}, rank_ + 2, scenario_.dtype);
  const Tensor v_R = MakeNumbers({R}, rank_ + 3);
  const Tensor d_x_TD = MakeNumbers({tokens_, kWidth}, 4);  // is overwritten
  const Tensor d_weights_TK = MakeNumbers({tokens_, scenario_.top_k}, 5);
  absl::StatusOr<ReturningGradients> returning =
      dispatcher_.StartDispatchBackward(context_, plan_, y_RD, v_R);
  ASSERT_TRUE(returning.ok());
  ASSERT_TRUE(dispatcher_
                  .FinishDispatchBackward(context_, d_x_TD, d_weights_TK, plan_,
                                          *std::move(returning))
                  .ok());
  EXPECT_EQ(Total(Dot(rows_RD, y_RD)), Total(Dot(x_TD, d_x_TD)));
  EXPECT_EQ(Total(Dot(weight_R, v_R)), Total(Dot(weights_TK_, d_weights_TK)));
  for (int64_t n = 0; n < d_weights_TK.size(); ++n) {
    if (Choice(rank_, n / scenario_.top_k, n % scenario_.top_k) < 0) {
      EXPECT_EQ(Get(d_weights_TK, n), 0) << "of a dropped choice";
    }
  }
}

// Nobody waits: Progress alone moves all rows.
TEST_P(TokenDispatcherTest, GradientsReturnWhileTheRankComputes) {
  const int64_t R = plan_.num_received_rows;
  const Tensor y_RD = MakeNumbers({R, kWidth}, rank_ + 2, scenario_.dtype);
  const Tensor v_R = MakeNumbers({R}, rank_ + 3);
  absl::StatusOr<ReturningGradients> returning =
      dispatcher_.StartDispatchBackward(context_, plan_, y_RD, v_R);
  ASSERT_TRUE(returning.ok());
  if (returning->rows.work == nullptr) return;  // a group of one rank
  const int64_t own = plan_.send_rows_P[static_cast<size_t>(rank_)];
  const int64_t foreign = plan_.num_sent_rows - own;
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  const int64_t weight_bytes = foreign * SizeOf(DType::kFloat32);
  const int64_t row_bytes = foreign * kWidth * SizeOf(scenario_.dtype);
  const Work& rows = *returning->rows.work;
  const Work& weights = *returning->weights.work;
  while ((rows.arrived_bytes() < row_bytes ||
          weights.arrived_bytes() < weight_bytes) &&
         absl::Now() < deadline) {
    returning->Progress();
    sched_yield();
  }
  EXPECT_EQ(rows.arrived_bytes(), row_bytes);
  EXPECT_EQ(weights.arrived_bytes(), weight_bytes);
  // Ranks that are still at it need those that are done.
  EXPECT_TRUE(returning->rows.Wait().ok());
  EXPECT_TRUE(returning->weights.Wait().ok());
}

TEST_P(TokenDispatcherTest, CombineBackwardIsTheAdjointOfCombine) {
  const int64_t R = plan_.num_received_rows;
  const Tensor rows_RD = MakeNumbers({R, kWidth}, rank_, scenario_.dtype);
  const Tensor out_TD = Make({tokens_, kWidth});
  ASSERT_TRUE(dispatcher_.Combine(context_, out_TD, plan_, rows_RD).ok());
  const Tensor z_TD =
      MakeNumbers({tokens_, kWidth}, rank_ + 6, scenario_.dtype);
  Tensor d_rows_RD;
  ASSERT_TRUE(
      dispatcher_.CombineBackward(context_, d_rows_RD, plan_, z_TD).ok());
  EXPECT_EQ(Total(Dot(out_TD, z_TD)), Total(Dot(rows_RD, d_rows_RD)));
}

TEST_P(TokenDispatcherTest, NoRowIsLostButThoseDropped) {
  int64_t kept = 0;
  for (int64_t t = 0; t < tokens_; ++t) kept += NumKept(t);
  EXPECT_EQ(plan_.num_sent_rows, kept);
  EXPECT_EQ(plan_.choice_of_row_N.size(), kept);
  EXPECT_EQ(plan_.token_of_row_N.size(), kept);
  EXPECT_EQ(Total(static_cast<double>(plan_.num_sent_rows)),
            Total(static_cast<double>(plan_.num_received_rows)));
}

TEST_P(TokenDispatcherTest, OnlyRowsForOtherRanksTravel) {
  const Tensor x_TD = MakeNumbers({tokens_, kWidth}, 0, scenario_.dtype);
  const ProcessGroup& group = groups_[Axis::kExpert];
  const int64_t before = group.traffic().sent_bytes;
  Tensor rows_RD;
  Tensor weight_R;
  ASSERT_TRUE(
      dispatcher_
          .Dispatch(context_, rows_RD, weight_R, plan_, x_TD, weights_TK_)
          .ok());
  const int64_t rows =
      plan_.num_sent_rows - plan_.send_rows_P[static_cast<size_t>(rank_)];
  const int64_t row_bytes =
      kWidth * SizeOf(scenario_.dtype) + SizeOf(DType::kFloat32);
  EXPECT_EQ(group.traffic().sent_bytes - before, rows * row_bytes);
}

// As backward does where forward is computed again.
TEST_P(TokenDispatcherTest, APlanMadeAgainIsTheSameAndSendsNothing) {
  const ProcessGroup& group = groups_[Axis::kExpert];
  DispatchPlan again = plan_;
  const TrafficCounters before = group.traffic();
  ASSERT_TRUE(dispatcher_.RemakePlan(context_, again, expert_ids_TK_).ok());
  EXPECT_EQ(group.traffic().calls, before.calls);
  const auto expect_equal = [](const Tensor& a, const Tensor& b) {
    ASSERT_EQ(a.is_null(), b.is_null());
    if (a.is_null()) return;
    EXPECT_NE(a.raw(), b.raw());
    EXPECT_EQ(HostValues<int32_t>(a), HostValues<int32_t>(b));
  };
  if (tokens_ > 0) {
    expect_equal(again.token_of_row_N, plan_.token_of_row_N);
    expect_equal(again.choice_of_row_N, plan_.choice_of_row_N);
    expect_equal(again.row_of_choice_TK, plan_.row_of_choice_TK);
  }
  if (plan_.num_received_rows > 0) {
    expect_equal(again.arrival_of_row_R, plan_.arrival_of_row_R);
    expect_equal(again.row_of_arrival_R, plan_.row_of_arrival_R);
  }
}

// As a layer does whose rows go in chunks: each has the counts that an exchange
// of its own would have brought, its rows in the order of the whole.
TEST_P(TokenDispatcherTest, ChunksTakeTheirCountsFromTheWhole) {
  const ProcessGroup& group = groups_[Axis::kExpert];
  std::vector<int32_t> sent;
  int64_t received = 0;
  for (int64_t chunk = 0; chunk < kChunks; ++chunk) {
    DispatchPlan cut = ChunkOf(plan_, chunk, kChunks);
    const Tensor ids_TK =
        dispatcher_.ChunkIds(context_, expert_ids_TK_, plan_, chunk, kChunks)
            .value();
    const TrafficCounters before = group.traffic();
    ASSERT_TRUE(dispatcher_.RemakePlan(context_, cut, ids_TK).ok());
    EXPECT_EQ(group.traffic().calls, before.calls);

    DispatchPlan told;
    ASSERT_TRUE(dispatcher_.MakePlan(context_, told, ids_TK).ok());
    EXPECT_EQ(cut.counts_E, told.counts_E);
    EXPECT_EQ(cut.counts_Pe, told.counts_Pe);
    EXPECT_EQ(cut.send_rows_P, told.send_rows_P);
    EXPECT_EQ(cut.receive_rows_P, told.receive_rows_P);
    EXPECT_EQ(cut.expert_offsets, told.expert_offsets);
    EXPECT_EQ(cut.num_sent_rows, told.num_sent_rows);
    EXPECT_EQ(cut.num_received_rows, told.num_received_rows);
    EXPECT_EQ(cut.arrival_of_row_R.is_null(), told.arrival_of_row_R.is_null());
    received += cut.num_received_rows;
    for (int32_t choice : HostValues<int32_t>(cut.choice_of_row_N))
      sent.push_back(choice);
  }
  EXPECT_EQ(received, plan_.num_received_rows);
  // No choice is lost or sent twice.
  EXPECT_THAT(sent, testing::UnorderedElementsAreArray(
                        HostValues<int32_t>(plan_.choice_of_row_N)));
}

TEST_P(TokenDispatcherTest, AGroupOfOneExchangesNothing) {
  const ProcessGroups alone = ProcessGroups::CreateSingle();
  const TokenDispatcher dispatcher(alone, scenario_.num_experts);
  DispatchPlan plan;
  ASSERT_TRUE(dispatcher.MakePlan(context_, plan, expert_ids_TK_).ok());
  const Tensor x_TD = MakeNumbers({tokens_, kWidth}, 0, scenario_.dtype);
  const Tensor out_TD = Make({tokens_, kWidth});
  Tensor rows_RD;
  Tensor weight_R;
  ASSERT_TRUE(
      dispatcher.Dispatch(context_, rows_RD, weight_R, plan, x_TD, weights_TK_)
          .ok());
  ASSERT_TRUE(dispatcher.Combine(context_, out_TD, plan, rows_RD).ok());
  for (int64_t i = 0; i < out_TD.size(); ++i) {
    EXPECT_EQ(Get(out_TD, i),
              static_cast<float>(NumKept(i / kWidth)) * Get(x_TD, i));
  }
  EXPECT_EQ(alone[Axis::kExpert].traffic().sent_bytes, 0);
  EXPECT_TRUE(plan.arrival_of_row_R.is_null());
}

std::string ScenarioName(const testing::TestParamInfo<Scenario>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Scenarios, TokenDispatcherTest,
                         testing::ValuesIn(kScenarios), ScenarioName);

}  // namespace
}  // namespace moe
