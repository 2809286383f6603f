#include "launch/bench_step.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "absl/time/clock.h"
#include "comm/mesh.h"
#include "comm/philox.h"
#include "comm/process_groups.h"
#include "comm/status_macros.h"
#include "moe/model_config.h"
#include "trainer/layout.h"
#include "trainer/trainer.h"

namespace moe {
namespace {

constexpr size_t kWarmUpSteps = 2;
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

absl::Status BenchStep(const MpiRuntime& runtime, const BenchOptions& options) {
  const TrainConfig& config = options.config;
  ASSIGN_OR_RETURN(const Mesh mesh, MakeMesh(config, runtime.world()));
  ASSIGN_OR_RETURN(const ProcessGroups groups,
                   ProcessGroups::Create(runtime, mesh));
  const KernelContextPtr kernels = MakeKernelContext(config.run().threads());
  const RandomTokens tokens(config.model().vocab_size());
  ASSIGN_OR_RETURN(std::unique_ptr<Trainer> trainer,
                   Trainer::Create(config, {.mesh = mesh,
                                            .groups = groups,
                                            .kernels = *kernels,
                                            .train = tokens}));
  std::vector<double> times;
  double measured = 0;
  for (size_t step = 0;; ++step) {
    const absl::Time begin = absl::Now();
    RETURN_IF_ERROR(trainer->TrainStep().status());
    const double seconds = absl::ToDoubleSeconds(absl::Now() - begin);
    if (step < kWarmUpSteps) continue;
    times.push_back(seconds);
    measured += seconds;
    // Rank 0's clock decides for all.
    int32_t enough = times.size() >= kLeastSteps && measured > options.seconds;
    RETURN_IF_ERROR(groups.world().Broadcast(ViewOf(absl::MakeSpan(&enough, 1)),
                                             /*root=*/0));
    if (enough != 0) break;
  }
  if (runtime.rank() != 0) return absl::OkStatus();
  std::sort(times.begin(), times.end());
  const int64_t global_size = config.batch().global_size();
  const int64_t length = config.batch().sequence_length();
  const double step_tokens = static_cast<double>(global_size * length);
  BenchResult result{
      .part = "step",
      .name = "training step",
      .shape = {{"ranks", runtime.world()},
                {"sequences", global_size},
                {"length", length}},
      .seconds = times[times.size() / 2],
      .runs = static_cast<int64_t>(times.size()),
      .flops = step_tokens * ModelFlopsPerToken(config.model(), length),
      .peak_flops = options.peak_flops};
  result.tokens_per_second = step_tokens / result.seconds;
  options.report(result);
  return absl::OkStatus();
}

}  // namespace moe
