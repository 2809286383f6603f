#include "trainer/checkpoint/store/batch_file.h"

#include <memory>
#include <vector>

#include "comm/base/status_macros.h"
#include "trainer/checkpoint/format/safetensors.h"

namespace moe {

absl::Status WriteBatches(FileSystem& files, const std::string& path,
                          const SampleSequence& samples,
                          const BatchRange& range) {
  StoredTensor tensor;
  tensor.name = "tokens";
  tensor.dtype = StoredDType::kI32;
  tensor.shape = {static_cast<uint64_t>(range.num_steps),
                  static_cast<uint64_t>(range.global_size),
                  static_cast<uint64_t>(range.length + 1)};
  ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsWriter> writer,
                   SafetensorsWriter::Create(files, path, {tensor}));
  const size_t length = static_cast<size_t>(range.length);
  std::vector<int32_t> row(length + 1);
  std::vector<int32_t> targets(length);
  const int64_t first = range.first_sample;
  for (int64_t i = 0; i < range.num_steps * range.global_size; ++i) {
    RETURN_IF_ERROR(samples.Read(first + i,
                                 absl::MakeSpan(row).subspan(0, length),
                                 absl::MakeSpan(targets), /*positions=*/{}));
    row[length] = targets[length - 1];
    RETURN_IF_ERROR(writer->AppendBytes(
        tensor.name,
        absl::string_view(reinterpret_cast<const char*>(row.data()),
                          row.size() * sizeof(int32_t))));
  }
  return writer->Finish();
}

}  // namespace moe
