#include "launch/bench/bench_step.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "comm/activity.h"
#include "comm/base/status_macros.h"
#include "comm/trace.h"
#include "launch/bench/bench_trainer.h"
#include "trainer/config/batch_plan.h"
#include "trainer/config/units.h"
#include "trainer/report/machine.h"
#include "trainer/report/phase_shares.h"
#include "trainer/report/trace_range.h"

namespace moe {
namespace {

// What one rank did in the steps that count.
struct StepRecord {
  std::vector<double> times;          // seconds
  std::vector<PhaseTime> stages;      // of all steps
  std::array<int64_t, 2> dispatched;  // bytes sent; rows that had to be
};

// Rows of the last micro-batch that had to leave this rank; `rank` is its place
// in the expert group.
int64_t RowsToOthers(const Pass& pass, int rank) {
  int64_t rows = 0;
  for (const BlockSaved& block : pass.blocks) {
    const DispatchPlan& plan = block.moe.plan;
    rows += plan.num_sent_rows - plan.send_rows_P[static_cast<size_t>(rank)];
  }
  return rows;
}

absl::StatusOr<StepRecord> RunSteps(BenchTrainer& bench, double seconds) {
  for (int i = 0; i < BenchTrainer::kWarmUpSteps; ++i)
    RETURN_IF_ERROR(bench.TimeStep().status());
  const ProcessGroup& experts = bench.groups()[Axis::kExpert];
  Trainer& trainer = bench.trainer();
  StepRecord record = {};
  for (bool enough = false; !enough;) {
    TakePhaseTimes();
    const int64_t sent_before = experts.traffic().sent_bytes;
    ASSIGN_OR_RETURN(const double step_seconds, bench.TimeStep());
    record.times.push_back(step_seconds);
    const std::vector<PhaseTime> stages = TakePhaseTimes();
    record.stages.insert(record.stages.end(), stages.begin(), stages.end());
    record.dispatched[0] += experts.traffic().sent_bytes - sent_before;
    record.dispatched[1] += RowsToOthers(trainer.pass(), experts.rank());
    ASSIGN_OR_RETURN(enough, bench.AreEnough(record.times, seconds));
  }
  return record;
}

bool IsRouting(absl::string_view stage) {
  return stage == "router" || stage == "dispatch" || stage == "combine";
}

double RoutingSum(const PhaseShares& shares) {
  double sum = 0;
  for (size_t i = 0; i < shares.size(); ++i)
    if (IsRouting(PhaseShareName(i))) sum += shares[i];
  return sum;
}

// Shares of the stages, and what all of routing takes, without and with the
// waiting in it. Collective.
absl::Status AddShares(BenchResult& result, const StepRecord& record,
                       ProcessGroup& world) {
  ASSIGN_OR_RETURN(const PhaseShares shares,
                   FindPhaseShares(record.stages, world));
  for (size_t i = 0; i < shares.size(); ++i)
    result.phase_shares.push_back({PhaseShareName(i), shares[i]});
  const PhaseShares seconds = SumPhaseTimes(record.stages);
  std::array<double, 2> waited = {
      RoutingSum(SumPhaseWaits(record.stages)),
      std::accumulate(seconds.begin(), seconds.end(), 0.0)};
  RETURN_IF_ERROR(
      world.AllReduce(ViewOf(absl::MakeSpan(waited)), ReduceOp::kSum));
  const double share = RoutingSum(shares);
  const double with_waiting = share + waited[0] / waited[1];
  result.figures.push_back(
      {"routing_share", share,
       absl::StrFormat("router, dispatch and combine %.1f %%", 100 * share)});
  result.figures.push_back(
      {"routing_share_with_waiting", with_waiting,
       world.size() == 1 ? ""
                         : absl::StrFormat("%.1f %% with the waiting in them",
                                           100 * with_waiting)});
  return absl::OkStatus();
}

// Bytes a step that all ranks together send in their expert groups, over those
// of the rows alone, each sent once each way in forward and backward. The rows
// are known where a step has one micro-batch. Collective.
absl::Status AddDispatch(BenchResult& result, const StepRecord& record,
                         const TrainConfig& config, BenchTrainer& bench) {
  std::array<int64_t, 2> sums = record.dispatched;
  RETURN_IF_ERROR(bench.groups().world().AllReduce(ViewOf(absl::MakeSpan(sums)),
                                                   ReduceOp::kSum));
  if (sums[0] == 0) return absl::OkStatus();
  const double bytes = static_cast<double>(sums[0]);
  const double a_step = bytes / static_cast<double>(record.times.size());
  result.figures.push_back(
      {"dispatch_bytes", a_step,
       absl::StrCat("dispatch sends ",
                    FormatBytes(static_cast<int64_t>(a_step)))});
  const BatchPlan plan(config.batch().global_size(),
                       config.batch().micro_size(), bench.mesh().data());
  if (plan.num_micro_steps() > 1 || sums[1] == 0) return absl::OkStatus();
  constexpr int64_t kWays = 4;
  const int64_t row_bytes = config.model().hidden_size() *
                            SizeOf(bench.trainer().table().compute_dtype());
  const double over_least =
      bytes / static_cast<double>(sums[1] * kWays * row_bytes);
  result.figures.push_back(
      {"dispatch_bytes_over_least", over_least,
       absl::StrFormat("%.4f of the least possible", over_least)});
  return absl::OkStatus();
}

// Of the largest rank. Collective.
absl::Status AddMemory(BenchResult& result, ProcessGroup& world) {
  int64_t peak = PeakResidentBytes();
  RETURN_IF_ERROR(
      world.AllReduce(ViewOf(absl::MakeSpan(&peak, 1)), ReduceOp::kMax));
  result.figures.push_back({"peak_memory_bytes", static_cast<double>(peak),
                            absl::StrCat("peak memory ", FormatBytes(peak))});
  return absl::OkStatus();
}

// Seconds that an event of a trace costs the thread that it is of: of many
// changes of stage, the difference between tracing them and not, the least of
// some rounds.
double SecondsOfEvent() {
  constexpr int kRounds = 5;
  constexpr int kScopes = 50000;  // of two events each
  const auto run = [] {
    const int64_t begin = ClockNanos();
    for (int i = 0; i < kScopes; ++i) const PhaseScope phase(Phase::kBench);
    return static_cast<double>(ClockNanos() - begin) * 1e-9;
  };
  double least[2] = {1e9, 1e9};
  for (int round = 0; round < kRounds; ++round) {
    least[0] = std::min(least[0], run());
    StartTrace(/*capacity=*/2 * kScopes);
    least[1] = std::min(least[1], run());
    int64_t dropped = 0;
    TakeTrace(&dropped);
  }
  return std::max(0.0, least[1] - least[0]) / (2 * kScopes);
}

// What log.trace_steps adds to a step, from how many events it has: the
// difference of two steps' times would drown in what they differ by anyway.
// And what the file takes to write, once, after the last of them. Of the rank
// with the most events. Collective.
absl::Status AddTrace(BenchResult& result, BenchTrainer& bench) {
  StartTrace(/*capacity=*/1 << 18);
  RETURN_IF_ERROR(bench.TimeStep().status());
  int64_t dropped = 0;
  const std::vector<TraceEvent> events = TakeTrace(&dropped);
  const int64_t begin = ClockNanos();
  const size_t text_bytes = TraceJson(events, 0, 0, 0).size();
  const double text_seconds = static_cast<double>(ClockNanos() - begin) * 1e-9;
  std::array<double, 3> most = {
      (static_cast<double>(events.size()) + static_cast<double>(dropped)) *
          SecondsOfEvent() / result.seconds,
      text_seconds, static_cast<double>(text_bytes)};
  RETURN_IF_ERROR(bench.groups().world().AllReduce(ViewOf(absl::MakeSpan(most)),
                                                   ReduceOp::kMax));
  result.figures.push_back(
      {"trace_share", most[0],
       absl::StrFormat("a trace adds %.4f %%", 100 * most[0])});
  result.figures.push_back({"trace_text_seconds", most[1], ""});
  result.figures.push_back({"trace_text_bytes", most[2], ""});
  return absl::OkStatus();
}

}  // namespace

absl::Status BenchStep(const MpiRuntime& runtime, const BenchOptions& options) {
  ForgetPeakResidentBytes();
  const TrainConfig& config = options.config;
  const std::unique_ptr<Kernels> kernels =
      MakeCpuKernels(config.run().threads());
  RETURN_IF_ERROR(kernels->status());
  ASSIGN_OR_RETURN(const std::unique_ptr<BenchTrainer> bench,
                   BenchTrainer::Create(config, runtime, *kernels));
  ASSIGN_OR_RETURN(const StepRecord record, RunSteps(*bench, options.seconds));
  BenchResult result = bench->Result(record.times, options.peak_flops);
  result.part = "step";
  result.name = "training step";
  ProcessGroup& world = bench->groups().world();
  RETURN_IF_ERROR(AddMemory(result, world));
  RETURN_IF_ERROR(AddShares(result, record, world));
  RETURN_IF_ERROR(AddDispatch(result, record, config, *bench));
  RETURN_IF_ERROR(AddTrace(result, *bench));
  if (runtime.rank() == 0) options.report(result);
  return absl::OkStatus();
}

}  // namespace moe
