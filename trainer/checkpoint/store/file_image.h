#ifndef TRAINER_CHECKPOINT_STORE_FILE_IMAGE_H_
#define TRAINER_CHECKPOINT_STORE_FILE_IMAGE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "comm/base/buffer.h"
#include "data/storage/file_system.h"
#include "trainer/checkpoint/format/manifest.h"
#include "trainer/checkpoint/format/safetensors_header.h"

namespace moe {

// A safetensors file of float32 tensors in memory: a snapshot fills its
// elements, and another thread writes it. Its memory is kept from one snapshot
// to the next. Move-only.
class FileImage {
 public:
  // Of the tensors, name and shape are what counts. ResourceExhausted: no
  // memory.
  static absl::StatusOr<FileImage> Create(std::string name,
                                          std::vector<StoredTensor> tensors);

  const std::string& name() const { return name_; }

  // The elements of a tensor that the image has.
  absl::Span<float> Elements(absl::string_view tensor) const;

  // Writes DIRECTORY/NAME durably, and says what it wrote: size and digest are
  // of the bytes in memory, whatever the disk makes of them.
  absl::StatusOr<CheckpointManifest::File> Write(
      FileSystem& files, const std::string& directory) const;

 private:
  FileImage(std::string name, std::string header, Buffer elements)
      : name_(std::move(name)),
        header_(std::move(header)),
        elements_(std::move(elements)) {}

  struct Place {
    int64_t begin = 0;  // elements
    int64_t count = 0;
  };

  std::string name_;
  std::string header_;
  Buffer elements_;
  std::map<std::string, Place, std::less<>> places_;
};

// A file of a checkpoint that is made at once: writes it durably likewise.
absl::StatusOr<CheckpointManifest::File> WriteListed(
    FileSystem& files, const std::string& directory, const std::string& name,
    absl::string_view contents);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_FILE_IMAGE_H_
