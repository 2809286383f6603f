#ifndef TRAINER_CHECKPOINT_FORMAT_MANIFEST_H_
#define TRAINER_CHECKPOINT_FORMAT_MANIFEST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/storage/digest.h"
#include "data/storage/file_system.h"
#include "trainer/checkpoint/format/manifest.pb.h"

namespace moe {

inline constexpr char kManifestFile[] = "manifest.textproto";
inline constexpr int kManifestVersion = 1;

// The file's text: the message in Protobuf text format, then a comment line
// with the digest of all before it.
std::string ManifestText(const CheckpointManifest& manifest);

// The message of such a text; fields that this version of the program does not
// know are passed over. DataLoss: cut, changed, or no manifest. Unimplemented:
// as it was written, but by a newer version, of another format. `path` is for
// messages.
absl::StatusOr<CheckpointManifest> ParseManifest(absl::string_view text,
                                                 absl::string_view path);

// Reads DIRECTORY/manifest.textproto alone. NotFound: no manifest, so no
// complete checkpoint. Else as ParseManifest.
absl::StatusOr<CheckpointManifest> LoadManifest(FileSystem& files,
                                                const std::string& directory);

// DataLoss: the file is missing or of another size.
absl::Status CheckSize(FileSystem& files, const std::string& directory,
                       const CheckpointManifest::File& file);

// Reads DIRECTORY/manifest.textproto and looks whether all files are there in
// their sizes. DataLoss names the file that is missing or of another size. Else
// as LoadManifest.
absl::StatusOr<CheckpointManifest> ReadManifest(FileSystem& files,
                                                const std::string& directory);

// The layout that wrote it: "4 ranks (tensor 1, expert 4)".
std::string LayoutText(const CheckpointManifest& manifest);

// The files of a manifest but those of the optimizer's state.
std::vector<CheckpointManifest::File> FilesBesideState(
    const CheckpointManifest& manifest);

// Reads every byte of one file. DataLoss: it is not what was written.
absl::Status VerifyFile(FileSystem& files, const std::string& directory,
                        const CheckpointManifest::File& file);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_FORMAT_MANIFEST_H_
