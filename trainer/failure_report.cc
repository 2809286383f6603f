#include "trainer/failure_report.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/status_macros.h"
#include "trainer/safetensors.h"

namespace moe {
namespace {

// The inputs of every sequence, then its last target: [count, L + 1].
absl::StatusOr<std::vector<int32_t>> ReadSequences(
    const SampleSequence& samples, int64_t first, int64_t count,
    int64_t length) {
  const size_t L = static_cast<size_t>(length);
  std::vector<int32_t> tokens;
  std::vector<int32_t> inputs(L);
  std::vector<int32_t> targets(L);
  for (int64_t i = 0; i < count; ++i) {
    RETURN_IF_ERROR(samples.Read(first + i, absl::MakeSpan(inputs),
                                 absl::MakeSpan(targets)));
    tokens.insert(tokens.end(), inputs.begin(), inputs.end());
    tokens.push_back(targets.back());
  }
  return tokens;
}

}  // namespace

absl::Status SaveFailure(FileSystem& files, const std::string& directory,
                         const absl::Status& failure,
                         const SampleSequence& samples, int64_t first_sample,
                         int64_t num_samples, int64_t sequence_length) {
  RETURN_IF_ERROR(files.MakeDirectories(directory));
  RETURN_IF_ERROR(WriteFileAtomically(files, JoinPath(directory, "report.txt"),
                                      absl::StrCat(failure.message(), "\n")));
  ASSIGN_OR_RETURN(
      const std::vector<int32_t> tokens,
      ReadSequences(samples, first_sample, num_samples, sequence_length));
  StoredTensor tensor;
  tensor.name = "tokens";
  tensor.dtype = StoredDType::kI32;
  tensor.shape = {static_cast<uint64_t>(num_samples),
                  static_cast<uint64_t>(sequence_length + 1)};
  ASSIGN_OR_RETURN(
      std::unique_ptr<SafetensorsWriter> writer,
      SafetensorsWriter::Create(files, JoinPath(directory, "batch.safetensors"),
                                {tensor}));
  RETURN_IF_ERROR(writer->AppendBytes(
      "tokens", absl::string_view(reinterpret_cast<const char*>(tokens.data()),
                                  tokens.size() * sizeof(int32_t))));
  return writer->Finish();
}

}  // namespace moe
