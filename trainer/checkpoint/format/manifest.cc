#include "trainer/checkpoint/format/manifest.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <memory>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "comm/base/check.h"
#include "comm/base/status_macros.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/config/nesting.h"

namespace moe {
namespace {

using ::google::protobuf::TextFormat;

// A thousand ranks' files take less than a quarter of a mebibyte.
constexpr int64_t kMaxManifestBytes = int64_t{16} << 20;

class NoReport : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int, google::protobuf::io::ColumnNumber,
                const std::string&) override {}
};

absl::Status Damaged(absl::string_view path, absl::string_view how) {
  return absl::DataLossError(absl::StrCat(path, " is damaged: ", how));
}

// It is as it was written: its digest holds.
absl::Status Newer(absl::string_view path, absl::string_view how) {
  return absl::UnimplementedError(absl::StrCat(
      path, " was written by a newer version of this program: ", how));
}

// A name in the directory itself: a manifest may not lead out of it.
bool IsPlainName(absl::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find('/') == name.npos && name.find('\0') == name.npos;
}

// In rising order, up to where the checkpoint is.
bool AreBatchChanges(const CheckpointManifest& manifest) {
  int64_t step = 0;
  int64_t samples = 0;
  for (const auto& change : manifest.batch_change()) {
    if (change.step() <= step || change.consumed_samples() <= samples)
      return false;
    step = change.step();
    samples = change.consumed_samples();
  }
  // The steps of the last batch may be none, or it has taken samples too.
  return (step == manifest.step() && samples == manifest.consumed_samples()) ||
         (step < manifest.step() && samples < manifest.consumed_samples()) ||
         manifest.batch_change().empty();
}

absl::Status CheckFields(const CheckpointManifest& manifest,
                         absl::string_view path) {
  if (manifest.version() > kManifestVersion) {
    return Newer(path, absl::StrCat("it is of format ", manifest.version(),
                                    ", this one reads ", kManifestVersion));
  }
  if (manifest.version() != kManifestVersion)
    return Damaged(path, absl::StrCat("format ", manifest.version()));
  if (manifest.step() < 0 || manifest.consumed_samples() < 0)
    return Damaged(path, "a negative step or number of samples");
  if (manifest.skipped_steps() < 0 ||
      manifest.skipped_steps() > manifest.step())
    return Damaged(path, "a number of skipped steps that is not of its steps");
  if (!AreBatchChanges(manifest))
    return Damaged(path, "changes of the batch that are not on its way");
  std::set<absl::string_view> names;
  for (const CheckpointManifest::File& file : manifest.file()) {
    if (!IsPlainName(file.name()) || file.num_bytes() < 0 ||
        !names.insert(file.name()).second)
      return Damaged(path, absl::StrCat("file '", file.name(), "'"));
  }
  return absl::OkStatus();
}

}  // namespace

std::string ManifestText(const CheckpointManifest& manifest) {
  std::string text;
  CHECK(TextFormat::PrintToString(manifest, &text));
  return text + DigestLine(text);
}

absl::StatusOr<CheckpointManifest> ParseManifest(absl::string_view text,
                                                 absl::string_view path) {
  const size_t last_line = DigestLine("").size();
  if (text.size() < last_line) return Damaged(path, "it is cut");
  const absl::string_view body = text.substr(0, text.size() - last_line);
  // The digest covers what is parsed: hostile texts stop here too, unless
  // their writer knows the format, and then the parser's own checks hold.
  if (text.substr(body.size()) != DigestLine(body))
    return Damaged(path, "its digest is not that of its text");
  CheckpointManifest manifest;
  NoReport quiet;
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&quiet);
  parser.AllowUnknownField(true);
  if (NestingDepth(body) > kMaxNestingDepth)
    return Damaged(path, "it nests too deep");
  if (!parser.ParseFromString(std::string(body), &manifest))
    return Newer(path, "this one does not understand it");
  RETURN_IF_ERROR(CheckFields(manifest, path));
  return manifest;
}

absl::StatusOr<CheckpointManifest> LoadManifest(FileSystem& files,
                                                const std::string& directory) {
  const std::string path = JoinPath(directory, kManifestFile);
  if (!files.Exists(path)) {
    return absl::NotFoundError(absl::StrCat(
        directory, " is no complete checkpoint: it has no ", kManifestFile));
  }
  ASSIGN_OR_RETURN(const std::string text,
                   files.ReadFile(path, kMaxManifestBytes));
  return ParseManifest(text, path);
}

absl::Status CheckSize(FileSystem& files, const std::string& directory,
                       const CheckpointManifest::File& file) {
  const std::string path = JoinPath(directory, file.name());
  if (!files.Exists(path))
    return absl::DataLossError(absl::StrCat(path, " is missing"));
  ASSIGN_OR_RETURN(const int64_t size, files.FileSize(path));
  if (size == file.num_bytes()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      path, " has ", size, " bytes, must have ", file.num_bytes()));
}

absl::StatusOr<CheckpointManifest> ReadManifest(FileSystem& files,
                                                const std::string& directory) {
  ASSIGN_OR_RETURN(CheckpointManifest manifest, LoadManifest(files, directory));
  for (const CheckpointManifest::File& file : manifest.file())
    RETURN_IF_ERROR(CheckSize(files, directory, file));
  return manifest;
}

std::vector<CheckpointManifest::File> FilesBesideState(
    const CheckpointManifest& manifest) {
  std::vector<CheckpointManifest::File> listed;
  for (const CheckpointManifest::File& file : manifest.file())
    if (!absl::StartsWith(file.name(), kStateFilePrefix))
      listed.push_back(file);
  return listed;
}

std::string LayoutText(const CheckpointManifest& manifest) {
  return absl::StrCat(
      manifest.ranks(), manifest.ranks() == 1 ? " rank" : " ranks", " (tensor ",
      manifest.tensor_parallel(), ", expert ", manifest.expert_parallel(), ")");
}

absl::Status VerifyFile(FileSystem& files, const std::string& directory,
                        const CheckpointManifest::File& file) {
  const std::string path = JoinPath(directory, file.name());
  uint64_t digest = Digest("");
  if (file.num_bytes() > 0) {
    ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> bytes, files.Map(path));
    if (static_cast<int64_t>(bytes->bytes().size()) != file.num_bytes())
      return Damaged(path, "it has another size");
    digest = Digest(bytes->bytes());
  }
  if (digest == file.xxh3()) return absl::OkStatus();
  return Damaged(path, "its digest is not the manifest's");
}

}  // namespace moe
