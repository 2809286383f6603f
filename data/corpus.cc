#include "data/corpus.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/status_macros.h"
#include "data/corpus_source.h"
#include "data/corpus_split.h"
#include "data/file_system.h"
#include "data/indexed_dataset.h"
#include "data/packed_samples.h"
#include "data/text_bytes.h"
#include "data/token_stream.h"

namespace moe {
namespace {

class PackedCorpus : public Corpus {
 public:
  explicit PackedCorpus(const CorpusOptions& options) : options_(options) {}

  absl::Status Load();

  const Tokenizer* tokenizer() const override { return tokenizer_.get(); }
  const SampleSequence& train() const override { return *train_; }
  const SampleSequence* valid() const override { return valid_.get(); }
  double valid_bytes_per_token() const override {
    return valid_bytes_per_token_;
  }

 private:
  absl::StatusOr<const IndexedDataset*> OpenTokens(const CorpusSource& source);
  absl::Status LoadTrain(const std::vector<CorpusSource>& sources,
                         double valid_fraction);
  absl::Status LoadValid(const std::vector<CorpusSource>& sources);
  // One sample's tokens: inputs and the last one's target.
  int64_t SampleTokens() const { return options_.sequence_length + 1; }
  absl::Status CheckSize(const CorpusSource& source, const TokenStream& stream,
                         absl::string_view key) const;
  std::vector<PackedSamples> Pack(
      const std::vector<TokenStream>& streams) const;

  const CorpusOptions options_;
  std::unique_ptr<Tokenizer> tokenizer_;
  int bos_id_ = -1;  // inserted before documents; -1: not
  std::vector<std::unique_ptr<IndexedDataset>> datasets_;
  std::vector<TokenStream> valid_streams_;
  std::unique_ptr<SampleSequence> train_;
  std::unique_ptr<SampleSequence> valid_;
  double valid_bytes_per_token_ = 0;
};

absl::Status PackedCorpus::Load() {
  ASSIGN_OR_RETURN(const CorpusSources sources, FindSources(options_));
  ASSIGN_OR_RETURN(tokenizer_, LoadCorpusTokenizer(sources, options_));
  if (options_.config.add_bos()) bos_id_ = tokenizer_->bos_id();
  const double fraction =
      sources.valid.empty() ? options_.config.valid_fraction() : 0;
  RETURN_IF_ERROR(LoadTrain(sources.train, fraction));
  RETURN_IF_ERROR(LoadValid(sources.valid));
  if (valid_streams_.empty()) {
    if (fraction == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("data.valid_fraction is ", fraction,
                     ", but too few tokens are there "
                     "to hold out one sample of ",
                     SampleTokens(), ": set it to 0 or name data.valid"));
  }
  valid_ = FileOrder(Pack(valid_streams_));
  if (tokenizer_ == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(valid_bytes_per_token_,
                   MeanTextBytes(*tokenizer_, valid_streams_));
  return absl::OkStatus();
}

absl::StatusOr<const IndexedDataset*> PackedCorpus::OpenTokens(
    const CorpusSource& source) {
  ASSIGN_OR_RETURN(const std::string prefix,
                   TokensPrefix(source, options_, tokenizer_.get()));
  ASSIGN_OR_RETURN(auto dataset,
                   IndexedDataset::Open(PosixFileSystem(), prefix));
  datasets_.push_back(std::move(dataset));
  return datasets_.back().get();
}

absl::Status PackedCorpus::LoadTrain(const std::vector<CorpusSource>& sources,
                                     double valid_fraction) {
  std::vector<TokenStream> streams;
  std::vector<double> weights;
  for (const CorpusSource& source : sources) {
    ASSIGN_OR_RETURN(const IndexedDataset* dataset, OpenTokens(source));
    const CorpusSplit split = SplitDocuments(
        *dataset, valid_fraction, SampleTokens(), bos_id_, options_.vocab_size);
    RETURN_IF_ERROR(CheckSize(source, split.train, "data.train"));
    streams.push_back(split.train);
    weights.push_back(source.weight);
    if (split.valid.size() >= SampleTokens()) {
      valid_streams_.push_back(split.valid);
    }
  }
  auto train = ShuffledBlend(Pack(streams), weights, options_.seed);
  if (!train.ok()) return Annotate(train.status(), "data.train");
  train_ = *std::move(train);
  return absl::OkStatus();
}

absl::Status PackedCorpus::LoadValid(const std::vector<CorpusSource>& sources) {
  for (const CorpusSource& source : sources) {
    ASSIGN_OR_RETURN(const IndexedDataset* dataset, OpenTokens(source));
    const TokenStream stream(*dataset, 0, dataset->num_documents(), bos_id_,
                             options_.vocab_size);
    RETURN_IF_ERROR(CheckSize(source, stream, "data.valid"));
    valid_streams_.push_back(stream);
  }
  return absl::OkStatus();
}

absl::Status PackedCorpus::CheckSize(const CorpusSource& source,
                                     const TokenStream& stream,
                                     absl::string_view key) const {
  if (stream.size() >= SampleTokens()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(key, ": ", source.path, " has ", stream.size(),
                   " tokens, one sample of ", "batch.sequence_length (",
                   options_.sequence_length, ") needs ", SampleTokens()));
}

std::vector<PackedSamples> PackedCorpus::Pack(
    const std::vector<TokenStream>& streams) const {
  std::vector<PackedSamples> packed;
  for (const TokenStream& stream : streams) {
    packed.emplace_back(stream, options_.sequence_length);
  }
  return packed;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Corpus>> Corpus::Open(
    const CorpusOptions& options) {
  auto corpus = std::make_unique<PackedCorpus>(options);
  RETURN_IF_ERROR(corpus->Load());
  return corpus;
}

}  // namespace moe
