// print_batch_digests RUN_DIRECTORY STEPS: a line for each step, its number and
// what batch_digest in metrics.jsonl must be, read from the run's data in the
// order that its seed gives, without ranks. Ends with 1 if that order does not
// have every sample once in a pass over the data.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "data/corpus.h"
#include "data/storage/file_system.h"
#include "trainer/config/config_text.h"
#include "trainer/run/run_directory.h"
#include "trainer/step/batch_digest.h"

namespace moe {
namespace {

constexpr int64_t kMaxConfigBytes = int64_t{1} << 20;

absl::StatusOr<TrainConfig> ReadConfig(const RunDirectory& run) {
  ASSIGN_OR_RETURN(const std::string text,
                   PosixFileSystem().ReadFile(run.config(), kMaxConfigBytes));
  return ParseConfig(text, run.config());
}

absl::StatusOr<std::unique_ptr<Corpus>> OpenData(const TrainConfig& config,
                                                 const RunDirectory& run) {
  return Corpus::Open({.config = config.data(),
                       .vocab_size = config.model().vocab_size(),
                       .sequence_length = config.batch().sequence_length(),
                       .seed = config.run().seed(),
                       .cache_directory = run.data(),
                       .share_directory = ""});
}

absl::Status CheckPass(const SampleSequence& samples, int64_t first) {
  const int64_t count = samples.samples_per_epoch();
  std::vector<bool> seen(static_cast<size_t>(count), false);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t sample = samples.SampleAt(first + i);
    if (sample < 0 || sample >= count || seen[static_cast<size_t>(sample)]) {
      return absl::InternalError(absl::StrCat(
          "sample ", sample, " stands twice in a pass or is none of it"));
    }
    seen[static_cast<size_t>(sample)] = true;
  }
  return absl::OkStatus();
}

absl::Status Print(const std::string& directory, int64_t steps) {
  const RunDirectory run(directory);
  ASSIGN_OR_RETURN(const TrainConfig config, ReadConfig(run));
  ASSIGN_OR_RETURN(const std::unique_ptr<Corpus> corpus, OpenData(config, run));
  const SampleSequence& samples = corpus->train();
  const int64_t length = config.batch().sequence_length();
  const int64_t size = config.batch().global_size();
  const int64_t pass = samples.samples_per_epoch();
  for (int64_t first = 0; first < steps * size; first += pass)
    RETURN_IF_ERROR(CheckPass(samples, first));

  std::vector<int32_t> inputs(static_cast<size_t>(length));
  std::vector<int32_t> targets(inputs.size());
  for (int64_t step = 1; step <= steps; ++step) {
    uint64_t sum = 0;
    for (int64_t i = (step - 1) * size; i < step * size; ++i) {
      RETURN_IF_ERROR(samples.Read(i, absl::MakeSpan(inputs),
                                   absl::MakeSpan(targets), /*positions=*/{}));
      TokenBlock tokens;
      tokens.count = 1;
      tokens.inputs = inputs;
      tokens.targets = targets;
      sum += BatchDigest(i, tokens);
    }
    std::printf("%lld %s\n", static_cast<long long>(step),
                BatchDigestText(sum % kBatchDigestLimit).c_str());
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace moe

int main(int argc, char** argv) {
  int64_t steps = 0;
  if (argc != 3 || !absl::SimpleAtoi(argv[2], &steps)) return 64;
  const absl::Status status = moe::Print(argv[1], steps);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
