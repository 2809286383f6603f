#ifndef TRAINER_RUN_RUN_DATA_H_
#define TRAINER_RUN_RUN_DATA_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/process_group.h"
#include "data/corpus.h"
#include "data/storage/file_system.h"
#include "trainer/config/train_config.pb.h"
#include "trainer/run/data_identity.h"
#include "trainer/run/run_start.h"

namespace moe {

struct RunData {
  std::unique_ptr<Corpus> corpus;
  DataIdentity identity;
};

// Whom to tell what; for rank 0.
struct DataListeners {
  ProgressFunction progress;
  SayFunction say;
};

// The options of the data of a run in config.run.directory: as `start` says,
// with all cores of this process. `share_directory`: where "share:" paths lie.
CorpusOptions RunDataOptions(const TrainConfig& config,
                             const StartOptions& start,
                             const std::string& share_directory);

// Prepares and opens the data that the options name. A run that goes on takes
// tokenizer and split from its checkpoint, and must find the tokens that it
// had: InvalidArgument names the source that holds others, with both digests. A
// checkpoint without digests is held against the number of sequences alone, and
// that is said. FailedPrecondition: less data than a batch; a rank sees other
// data than rank 0. Collective; an error is the same on all ranks.
absl::StatusOr<RunData> OpenRunData(const TrainConfig& config,
                                    CorpusOptions options,
                                    const RunStart& start, FileSystem& files,
                                    ProcessGroup& world,
                                    const DataListeners& listeners);

// The sources that the options name, looked up as a run with this start would:
// one that goes on needs no data.tokenizer. By names alone; for one process.
// Errors of FindSources; to a run that goes on and misses a file they say that
// its data may lie elsewhere.
absl::Status CheckSources(const TrainConfig& config, const StartOptions& start,
                          CorpusOptions options, FileSystem& files);

// What a dry run of one process finds of its data.
struct DataPreview {
  // "4,752 sequences to train on, 48 held out ...", and what a run would only
  // say or change, each on a line that begins with "Note: ".
  std::string text;
  // What a run would surely end with, the first of them first.
  std::vector<absl::Status> refusals;
};

// For sources that CheckSources finds. Nothing of the run is written.
DataPreview PreviewData(const TrainConfig& config, const StartOptions& start,
                        CorpusOptions options, FileSystem& files);

}  // namespace moe

#endif  // TRAINER_RUN_RUN_DATA_H_
