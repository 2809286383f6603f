#include "trainer/checkpoint/store/source_words.h"

#include <google/protobuf/util/message_differencer.h>

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "moe/model_config.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/store/stored_checkpoint.h"

namespace moe {
namespace {

constexpr int64_t kMaxGenerationConfigBytes = int64_t{1} << 20;
constexpr int64_t kMaxTokenizerFileBytes = int64_t{1} << 28;

absl::Status ReadTokenizerFiles(FileSystem& files, SourceWords& words) {
  const auto read = [&](const char* name) -> absl::Status {
    const std::string path = JoinPath(words.directory, name);
    if (!files.Exists(path) || files.IsDirectory(path)) return absl::OkStatus();
    ASSIGN_OR_RETURN(std::string contents,
                     files.ReadFile(path, kMaxTokenizerFileBytes));
    words.tokenizer_files.push_back({name, std::move(contents)});
    return absl::OkStatus();
  };
  for (const char* name : kTokenizerFiles) RETURN_IF_ERROR(read(name));
  for (const char* name : kMoreTokenizerFiles) RETURN_IF_ERROR(read(name));
  return absl::OkStatus();
}

}  // namespace

TrainConfig SourceWords::Settings() const {
  TrainConfig settings;
  *settings.mutable_model() = config.model;
  settings.mutable_model()->set_head_dim(
      static_cast<int>(HeadDim(config.model)));
  settings.mutable_router()->set_renormalize(config.renormalize);
  return settings;
}

absl::StatusOr<SourceWords> ReadSourceWords(FileSystem& files,
                                            const std::string& directory) {
  SourceWords words;
  words.directory = directory;
  ASSIGN_OR_RETURN(words.config, ReadModelConfig(files, directory));
  RETURN_IF_ERROR(CheckTrainedModel(files, directory, words.config));
  words.end_ids = words.config.eos_ids;
  const std::string path = JoinPath(directory, kGenerationConfigFile);
  if (!files.Exists(path)) return words;
  ASSIGN_OR_RETURN(std::string text,
                   files.ReadFile(path, kMaxGenerationConfigBytes));
  const absl::StatusOr<std::vector<int>> ends = ParseGenerationEnds(text);
  if (!ends.ok()) return Annotate(ends.status(), path);
  if (!ends->empty()) words.end_ids = *ends;
  if (text != GenerationConfigJson(words.config))
    words.generation_config = std::move(text);
  return words;
}

absl::StatusOr<SourceWords> ReadSourceWordsAndTokenizerFiles(
    FileSystem& files, const std::string& directory) {
  ASSIGN_OR_RETURN(SourceWords words, ReadSourceWords(files, directory));
  RETURN_IF_ERROR(ReadTokenizerFiles(files, words));
  return words;
}

absl::Status CheckTrainedModel(FileSystem& files, const std::string& directory,
                               const HuggingFaceConfig& config) {
  if (!files.Exists(JoinPath(directory, kTrainConfigFile)))
    return absl::OkStatus();
  ASSIGN_OR_RETURN(const TrainConfig written,
                   ReadTrainConfig(files, directory));
  const auto trained = ParseConfigJson(ConfigJson(MakeHuggingFaceConfig(
      written.model(), written.router(), written.batch().sequence_length())));
  if (trained.ok() && trained->renormalize == config.renormalize &&
      google::protobuf::util::MessageDifferencer::Equals(trained->model,
                                                         config.model))
    return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(directory, "/", kConfigFile,
                                          " has another model than ",
                                          kTrainConfigFile));
}

}  // namespace moe
