#ifndef TRAINER_RUN_DATA_IDENTITY_H_
#define TRAINER_RUN_DATA_IDENTITY_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "data/corpus.h"
#include "data/corpus_digest.h"
#include "data/storage/file_system.h"
#include "trainer/checkpoint/store/checkpoint_finder.h"

namespace moe {

// By what a run's checkpoints know its data again, whatever they are called.
// The tokenizer is not in it: its file lies in the checkpoint.
struct DataIdentity {
  CorpusDigest digest;  // of rank 0, which alone reads for it; else empty
  SplitRule split = SplitRule::kTokens;
};

// Writes that into the manifest of a checkpoint.
void DescribeData(const DataIdentity& identity, CheckpointManifest& manifest);

// What a run that goes on takes from its checkpoint: the tokenizer, if that has
// one, and the rule of the split.
void TakeFromCheckpoint(const FoundCheckpoint& checkpoint,
                        CorpusOptions& options);

// InvalidArgument: data.tokenizer, where it is set and there, is not the
// checkpoint's, or that has none: both are named. For rank 0.
absl::Status CheckSameTokenizer(const FoundCheckpoint& checkpoint,
                                const CorpusOptions& options,
                                FileSystem& files);

// InvalidArgument: a source holds other tokens than it did, by its digest, or
// data.train another number of sequences. For rank 0.
absl::Status CheckSameTokens(const FoundCheckpoint& checkpoint,
                             const CorpusOptions& options,
                             const CorpusDigest& digest, const Corpus& corpus);

// What of the checkpoint is from before digests, or from before
// SplitRule::kTokens, and what that means; a line each.
std::vector<std::string> WhatIsOlder(const FoundCheckpoint& checkpoint,
                                     const CorpusOptions& options,
                                     const Corpus& corpus);

}  // namespace moe

#endif  // TRAINER_RUN_DATA_IDENTITY_H_
