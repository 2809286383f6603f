#include "trainer/checkpoint/store/file_image.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "comm/base/check.h"
#include "comm/base/dtype.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

// Bytes of one write: an error is told soon, and a signal waits for no more.
constexpr size_t kWriteBytes = size_t{8} << 20;

absl::Status AppendInPieces(WritableFile& file, absl::string_view bytes) {
  for (; !bytes.empty();
       bytes.remove_prefix(std::min(bytes.size(), kWriteBytes)))
    RETURN_IF_ERROR(file.Append(bytes.substr(0, kWriteBytes)));
  return absl::OkStatus();
}

absl::StatusOr<CheckpointManifest::File> WritePieces(
    FileSystem& files, const std::string& directory, const std::string& name,
    absl::Span<const absl::string_view> pieces) {
  CheckpointManifest::File written;
  written.set_name(name);
  written.set_xxh3(Digest(pieces));
  ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file,
                   files.Create(JoinPath(directory, name)));
  int64_t num_bytes = 0;
  for (absl::string_view piece : pieces) {
    RETURN_IF_ERROR(AppendInPieces(*file, piece));
    num_bytes += static_cast<int64_t>(piece.size());
  }
  written.set_num_bytes(num_bytes);
  RETURN_IF_ERROR(file->Sync());
  RETURN_IF_ERROR(file->Close());
  return written;
}

}  // namespace

absl::StatusOr<FileImage> FileImage::Create(std::string name,
                                            std::vector<StoredTensor> tensors) {
  for (const StoredTensor& tensor : tensors)
    CHECK(tensor.dtype == StoredDType::kF32);
  LayOutTensors(tensors);
  const int64_t num_bytes =
      tensors.empty() ? 0 : static_cast<int64_t>(tensors.back().end);
  absl::StatusOr<Buffer> elements = Buffer::Allocate(num_bytes);
  if (!elements.ok())
    return Annotate(elements.status(), "memory for the checkpoint's snapshot");
  FileImage image(std::move(name),
                  SafetensorsHeaderBytes(tensors, {{"format", "pt"}}),
                  *std::move(elements));
  constexpr uint64_t kSize = sizeof(float);
  for (const StoredTensor& tensor : tensors) {
    image.places_[tensor.name] = {
        static_cast<int64_t>(tensor.begin / kSize),
        static_cast<int64_t>((tensor.end - tensor.begin) / kSize)};
  }
  return image;
}

absl::Span<float> FileImage::Elements(absl::string_view tensor) const {
  const auto found = places_.find(tensor);
  CHECK(found != places_.end());
  return {static_cast<float*>(elements_.data()) + found->second.begin,
          static_cast<size_t>(found->second.count)};
}

absl::StatusOr<CheckpointManifest::File> FileImage::Write(
    FileSystem& files, const std::string& directory) const {
  const std::array<absl::string_view, 2> pieces = {
      header_, absl::string_view(static_cast<const char*>(elements_.data()),
                                 static_cast<size_t>(elements_.num_bytes()))};
  return WritePieces(files, directory, name_, pieces);
}

absl::StatusOr<CheckpointManifest::File> WriteListed(
    FileSystem& files, const std::string& directory, const std::string& name,
    absl::string_view contents) {
  return WritePieces(files, directory, name, {contents});
}

}  // namespace moe
