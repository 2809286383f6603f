#ifndef TRAINER_CHECKPOINT_STORE_SOURCE_WORDS_H_
#define TRAINER_CHECKPOINT_STORE_SOURCE_WORDS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/storage/file_system.h"
#include "data/text/hf_tokenizer.h"
#include "trainer/checkpoint/format/hf_config.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// What a checkpoint says beside its tensors, ours or Hugging Face's: what its
// weights mean, and what is carried on into the checkpoints of a run that
// begins with it.
struct SourceWords {
  std::string directory;
  HuggingFaceConfig config;
  // The text of generation_config.json; empty where it says no more than
  // config.json does.
  std::string generation_config;
  // eos_token_id of generation_config.json, or of config.json where the former
  // names none; as in transformers, the tokenizer's </s> counts only where
  // both are silent.
  std::vector<int> end_ids;
  // The files of its tokenizer, as they are; of
  // ReadSourceWordsAndTokenizerFiles.
  std::vector<NamedFile> tokenizer_files;

  // model.*, with the width of a head resolved, and router.renormalize: what
  // the weights mean, and all that a run takes from them.
  TrainConfig Settings() const;
};

// Reads config.json and generation_config.json, and for a checkpoint of ours
// looks whether they are of the model that was trained. Errors as
// ParseConfigJson, with the path; DataLoss: another model.
absl::StatusOr<SourceWords> ReadSourceWords(FileSystem& files,
                                            const std::string& directory);

// The same and the tokenizer's files, for a run that carries them on: one that
// cannot be read is an error, with its path.
absl::StatusOr<SourceWords> ReadSourceWordsAndTokenizerFiles(
    FileSystem& files, const std::string& directory);

// DataLoss: the model of `config` is not that of train_config.textproto, which
// checkpoints of ours have. OK where there is none.
absl::Status CheckTrainedModel(FileSystem& files, const std::string& directory,
                               const HuggingFaceConfig& config);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_SOURCE_WORDS_H_
