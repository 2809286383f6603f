#ifndef DATA_CORPUS_H_
#define DATA_CORPUS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/data_config.pb.h"
#include "data/text/tokenizer.h"

namespace moe {

// How data.valid_fraction is cut off the end of each source.
enum class SplitRule {
  // As many tokens as make the share to within one sample: at the begin of a
  // document where one is within half a sample, else inside one.
  kTokens,
  // That share of the number of documents, whatever they hold; what runs did
  // before there was kTokens.
  kDocuments,
};

struct CorpusOptions {
  DataConfig config;
  int vocab_size = 0;           // model.vocab_size
  int64_t sequence_length = 0;  // L
  uint64_t seed = 0;            // of the order of samples
  std::string cache_directory;  // vocabulary and token caches of raw text
  std::string share_directory;  // where "share:" paths lie
  int threads = 1;              // for tokenizing
  // A tokenizer that stands in the place of data.tokenizer: that of the
  // checkpoint that a run goes on from. Empty: none.
  std::string tokenizer_path = "";
  // The checkpoint whose weights a run has: its tokenizer.model is used where
  // config.tokenizer is empty, for text no other is, and no vocabulary is
  // learned. Empty: none.
  std::string vocabulary_from = "";
  // A vocabulary that is learned has as many pieces as the text allows, where
  // these are fewer than vocab_size; else that is an error.
  bool vocab_size_may_shrink = false;
  SplitRule split = SplitRule::kTokens;
};

// What is being done, for a progress bar: "tokenizing kjv.txt", done of total.
using ProgressFunction =
    std::function<void(const std::string& what, int64_t done, int64_t total)>;

// A line for the user.
using SayFunction = std::function<void(const std::string& line)>;

// Makes what is missing in the cache: a vocabulary, tokens of raw text. Of a
// text that it tokenizes it says whether that is not all UTF-8. One rank calls
// it, before any calls Corpus::Open. A cache knows the size, inode and times of
// change of its text and the digests of its tokenizer and tokens, and is made
// anew when one of them changed. InvalidArgument: the configuration; NotFound:
// a source that is not there; Aborted: the cache cannot be written.
absl::Status PrepareCorpus(const CorpusOptions& options,
                           const ProgressFunction& progress,
                           const SayFunction& say);

// The pieces of the vocabulary that PrepareCorpus would learn; 0: it would
// learn none, or there is more text than a look is worth (1 MiB). Learns it in
// the machine's folder for temporary files and leaves nothing. Errors as
// PrepareCorpus.
absl::StatusOr<int> PreviewVocabulary(const CorpusOptions& options);

// An endless sequence of samples in the run's order; position is one number.
// Every pass over the data (an epoch) is a new keyed permutation.
class SampleSequence {
 public:
  virtual ~SampleSequence() = default;
  // Samples in one pass; at least 1.
  virtual int64_t samples_per_epoch() const = 0;
  // The global sample index that stands at `position` (from 0): what a test of
  // the order compares.
  virtual int64_t SampleAt(int64_t position) const = 0;
  // inputs and targets (L each) of the sample at `position`. Thread-safe.
  //
  // With `positions` (L, or empty) the sample's documents stand apart: each
  // input's index in its document, or in the sample where the document began
  // before it; and a target that begins another document is none, -1.
  virtual absl::Status Read(int64_t position, absl::Span<int32_t> inputs,
                            absl::Span<int32_t> targets,
                            absl::Span<int32_t> positions) const = 0;
};

// What was held out of one source of data.train.
struct HeldOut {
  std::string path;
  int64_t tokens = 0;
  int64_t all_tokens = 0;        // of the source
  bool inside_document = false;  // its document began in train
};

// The opened data of a run: train and validation samples and the tokenizer.
// Train's sources are blended by weight. What is held out of them for
// validation is the end of each source (see SplitRule); data.valid is taken
// whole, its sources one after another, whatever their weights.
class Corpus {
 public:
  // Beside what PrepareCorpus returns: FailedPrecondition: a source shorter
  // than one sample, a text that is not tokenized or changed since; DataLoss:
  // damaged tokens.
  static absl::StatusOr<std::unique_ptr<Corpus>> Open(
      const CorpusOptions& options);
  virtual ~Corpus() = default;

  // Null when the data was given as tokens and data.tokenizer is empty.
  virtual const Tokenizer* tokenizer() const = 0;
  virtual const SampleSequence& train() const = 0;
  // In file order, never shuffled; null when there is none (valid_fraction 0
  // and no data.valid).
  virtual const SampleSequence* valid() const = 0;
  // Of each source of train; none when valid_fraction is 0 or data.valid says
  // what is validated on.
  virtual absl::Span<const HeldOut> held_out() const = 0;
};

}  // namespace moe

#endif  // DATA_CORPUS_H_
