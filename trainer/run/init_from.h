#ifndef TRAINER_RUN_INIT_FROM_H_
#define TRAINER_RUN_INIT_FROM_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/process_group.h"
#include "data/storage/file_system.h"
#include "trainer/checkpoint/store/checkpoint_finder.h"
#include "trainer/checkpoint/store/source_words.h"
#include "trainer/checkpoint/store/weights_loader.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// --init-from: a new run takes a checkpoint's weights, and with them what the
// checkpoint says of their meaning:
//
// 1. before the ranks meet, TakeWords: model.* and router.renormalize, where
//    nobody typed them, become those of the checkpoint (ConfigLayers), and its
//    sliding_window bounds batch.sequence_length (GiveWay);
// 2. when they have met, OpenInitSource: the checkpoint is still the same, and
//    its values can be trained with;
// 3. its tokenizer is that of text (CorpusOptions.vocabulary_from), and its
//    special tokens, window, generation_config.json and tokenizer's files go
//    into what is saved (ModelFiles).

// What a run's configuration takes from a checkpoint.
struct TakenWords {
  std::string directory;  // of the checkpoint
  // False: run.directory holds a checkpoint already, and that one counts.
  bool is_source = true;
  TrainConfig settings;    // model.* and router.renormalize
  int sliding_window = 0;  // 0: none
};

// Of `own`, the checkpoint that the run goes on from (FindStart), or else of
// the one that `path` means, which may be gone where there is one of its own.
// For one process. Errors as FindCheckpoint and
// ReadSourceWordsAndTokenizerFiles.
absl::StatusOr<TakenWords> TakeWords(const std::string& path,
                                     const std::optional<FoundCheckpoint>& own,
                                     FileSystem& files);

// "taken from DIRECTORY: model.vocab_size 32000, ...": the keys that were not
// typed, with their values; empty where all were.
std::string TakenText(const TakenWords& taken, const TrainConfig& typed);

// InvalidArgument: a key of `given` contradicts the checkpoint; each such key
// with both values. What weights do not depend on may differ.
absl::Status CheckSameModel(const std::string& directory,
                            const TrainConfig& settings,
                            const TrainConfig& given);

struct InitSource {
  std::unique_ptr<WeightsLoader> weights;
  SourceWords words;
  // On rank 0, a sentence for each thing that the checkpoint holds and the run
  // does not use.
  std::vector<std::string> notes;
};

// For a resolved configuration. Collective; an error is the same on all ranks.
// Beside the errors of TakeWords and CheckSameModel: DataLoss: bytes, or
// weights that are not finite; FailedPrecondition: tensors that are not the
// model's, or hold what is not used, or sequences longer than sliding_window.
absl::StatusOr<InitSource> OpenInitSource(const std::string& path,
                                          const TrainConfig& config,
                                          FileSystem& files,
                                          ProcessGroup& world);

}  // namespace moe

#endif  // TRAINER_RUN_INIT_FROM_H_
