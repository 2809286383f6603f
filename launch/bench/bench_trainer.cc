#include "launch/bench/bench_trainer.h"

#include <numeric>
#include <utility>

#include "absl/time/time.h"
#include "comm/base/monotonic_time.h"
#include "comm/base/philox.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/mpi_group.h"
#include "moe/model_config.h"
#include "trainer/config/layout.h"

namespace moe {
namespace {

constexpr size_t kLeastSteps = 6;

// Uniformly random tokens: the router spreads them evenly, as a trained one
// is made to.
class RandomTokens : public SampleSequence {
 public:
  explicit RandomTokens(int vocab_size) : vocab_size_(vocab_size) {}
  int64_t samples_per_epoch() const override { return int64_t{1} << 40; }
  int64_t SampleAt(int64_t position) const override { return position; }
  absl::Status Read(int64_t position, absl::Span<int32_t> inputs,
                    absl::Span<int32_t> targets,
                    absl::Span<int32_t> positions) const override {
    const Philox philox(static_cast<uint64_t>(position));
    std::iota(positions.begin(), positions.end(), 0);
    for (size_t i = 0; i < inputs.size(); ++i) {
      inputs[i] = Token(philox, i);
      targets[i] = Token(philox, i + 1);
    }
    return absl::OkStatus();
  }

 private:
  int32_t Token(const Philox& philox, size_t i) const {
    return static_cast<int32_t>(philox.Uniform(i) * vocab_size_);
  }
  int vocab_size_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<BenchTrainer>> BenchTrainer::Create(
    const TrainConfig& config, const MpiRuntime& runtime, Kernels& kernels) {
  ASSIGN_OR_RETURN(const Mesh mesh, MakeMesh(config, runtime.world()));
  ASSIGN_OR_RETURN(ProcessGroups groups, MakeMpiGroups(runtime, mesh));
  std::unique_ptr<BenchTrainer> bench(
      new BenchTrainer(config, mesh, std::move(groups)));
  ASSIGN_OR_RETURN(bench->trainer_,
                   Trainer::Create(config, {.mesh = bench->mesh_,
                                            .groups = bench->groups_,
                                            .kernels = kernels,
                                            .train = *bench->tokens_}));
  return bench;
}

BenchTrainer::BenchTrainer(const TrainConfig& config, const Mesh& mesh,
                           ProcessGroups groups)
    : config_(config),
      mesh_(mesh),
      groups_(std::move(groups)),
      tokens_(std::make_unique<RandomTokens>(config.model().vocab_size())) {}

absl::StatusOr<double> BenchTrainer::TimeStep() {
  const absl::Duration begin = MonotonicTime();
  RETURN_IF_ERROR(trainer_->TrainStep().status());
  return absl::ToDoubleSeconds(MonotonicTime() - begin);
}

absl::StatusOr<bool> BenchTrainer::AreEnough(const std::vector<double>& times,
                                             double seconds) {
  const double sum = std::accumulate(times.begin(), times.end(), 0.0);
  int32_t enough = times.size() >= kLeastSteps && sum >= seconds ? 1 : 0;
  RETURN_IF_ERROR(groups_.world().Broadcast(ViewOf(absl::MakeSpan(&enough, 1)),
                                            /*root=*/0));
  return enough != 0;
}

BenchResult BenchTrainer::Result(const std::vector<double>& times,
                                 double peak_flops) const {
  const int64_t sequences = config_.batch().global_size();
  const int64_t length = config_.batch().sequence_length();
  const double tokens = static_cast<double>(sequences * length);
  BenchResult result{
      .shape = {{"ranks", groups_.world().size()},
                {"sequences", sequences},
                {"length", length}},
      .seconds = Median(times),
      .runs = static_cast<int64_t>(times.size()),
      .flops = tokens * ModelFlopsPerToken(config_.model(), length),
      .peak_flops = peak_flops};
  result.tokens_per_second = tokens / result.seconds;
  const int64_t parameters = CountParameters(config_.model()).total;
  result.figures.push_back({"parameters", static_cast<double>(parameters), ""});
  return result;
}

}  // namespace moe
