#ifndef TRAINER_CHECKPOINT_FORMAT_SAFETENSORS_H_
#define TRAINER_CHECKPOINT_FORMAT_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "data/storage/file_system.h"
#include "trainer/checkpoint/format/safetensors_header.h"

namespace moe {

// A safetensors file that is read where it lies: opening looks at the header
// alone, whatever the size of the tensors. Move-only.
class SafetensorsFile {
 public:
  // FileSystem's errors, and DataLoss as ParseSafetensorsHeader.
  static absl::StatusOr<SafetensorsFile> Open(FileSystem& files,
                                              const std::string& path);

  // By offset.
  const std::vector<StoredTensor>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const {
    return header_.metadata;
  }
  const std::string& path() const { return path_; }

  // Null if there is none of this name.
  const StoredTensor* Find(absl::string_view name) const;

  // The tensor's bytes, aligned to nothing.
  absl::string_view Bytes(const StoredTensor& tensor) const;

  // out = elements [begin, begin + out.size()) of an F32, BF16 or F16 tensor.
  // FailedPrecondition: another dtype.
  absl::Status ReadFloats(const StoredTensor& tensor, int64_t begin,
                          absl::Span<float> out) const;

 private:
  SafetensorsFile(std::string path, std::unique_ptr<MappedFile> file,
                  SafetensorsHeader header);

  std::string path_;
  std::unique_ptr<MappedFile> file_;
  SafetensorsHeader header_;
  std::map<absl::string_view, size_t> index_by_name_;
};

// Writes a safetensors file whose tensors are known before their elements: the
// header goes out first, then the elements in the order of tensors(), in
// pieces of any size, so that a file larger than the memory can be written.
// All errors are the FileSystem's.
class SafetensorsWriter {
 public:
  // Names, dtypes and shapes are what counts; see LayOutTensors.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(
      FileSystem& files, const std::string& path,
      std::vector<StoredTensor> tensors,
      const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

  // In the order of the file.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }

  // The next elements of tensor `name`, which must be where the file stands.
  absl::Status Append(absl::string_view name, absl::Span<const float> values);
  absl::Status AppendBytes(absl::string_view name, absl::string_view bytes);

  // After the last element: the file is durable and closed.
  absl::Status Finish();

 private:
  SafetensorsWriter(std::unique_ptr<WritableFile> file,
                    std::vector<StoredTensor> tensors);
  void SkipComplete();

  std::unique_ptr<WritableFile> file_;
  std::vector<StoredTensor> tensors_;
  size_t current_ = 0;   // tensor that the next bytes belong to
  uint64_t offset_ = 0;  // of the next byte behind the header
};

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_FORMAT_SAFETENSORS_H_
