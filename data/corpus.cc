#include "data/corpus.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/base/counted.h"
#include "comm/base/status_macros.h"
#include "data/corpus_source.h"
#include "data/corpus_split.h"
#include "data/indexed_dataset.h"
#include "data/packed_samples.h"
#include "data/storage/file_system.h"
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
  absl::Span<const HeldOut> held_out() const override { return held_out_; }

 private:
  absl::StatusOr<const IndexedDataset*> OpenTokens(const CorpusSource& source);
  absl::Status LoadTrain(const std::vector<CorpusSource>& sources,
                         double valid_fraction);
  absl::Status LoadValid(const std::vector<CorpusSource>& sources);
  // One sample's tokens: inputs and the last one's target.
  int64_t SampleTokens() const { return options_.sequence_length + 1; }
  TokenStream All(const IndexedDataset& dataset) const {
    return TokenStream(dataset, 0, dataset.num_documents(), bos_id_,
                       options_.vocab_size);
  }
  CorpusSplit Split(const IndexedDataset& dataset, double fraction) const;
  absl::Status CheckSize(const CorpusSource& source, const TokenStream& stream,
                         absl::string_view key) const;
  absl::Status NothingHeldOut() const;
  std::vector<PackedSamples> Pack(
      const std::vector<TokenStream>& streams) const;

  const CorpusOptions options_;
  std::unique_ptr<Tokenizer> tokenizer_;
  int bos_id_ = -1;  // inserted before documents; -1: not
  std::vector<std::unique_ptr<IndexedDataset>> datasets_;
  std::vector<TokenStream> valid_streams_;
  std::unique_ptr<SampleSequence> train_;
  std::unique_ptr<SampleSequence> valid_;
  std::vector<HeldOut> held_out_;
};

absl::Status PackedCorpus::Load() {
  ASSIGN_OR_RETURN(const CorpusSources sources, FindSources(options_));
  ASSIGN_OR_RETURN(tokenizer_, LoadCorpusTokenizer(sources, options_));
  if (options_.config.add_bos()) bos_id_ = tokenizer_->bos_id();
  const double fraction =
      sources.valid.empty() ? options_.config.valid_fraction() : 0;
  RETURN_IF_ERROR(LoadTrain(sources.train, fraction));
  RETURN_IF_ERROR(LoadValid(sources.valid));
  if (valid_streams_.empty())
    return fraction == 0 ? absl::OkStatus() : NothingHeldOut();
  valid_ = FileOrder(Pack(valid_streams_));
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
    RETURN_IF_ERROR(CheckSize(source, All(*dataset), "data.train"));
    const CorpusSplit split = Split(*dataset, valid_fraction);
    RETURN_IF_ERROR(CheckSize(source, split.train, "data.train"));
    streams.push_back(split.train);
    weights.push_back(source.weight);
    const int64_t all = split.train.size() + split.valid.size();
    if (split.valid.size() >= SampleTokens()) {
      valid_streams_.push_back(split.valid);
      held_out_.push_back(
          {source.path, split.valid.size(), all, split.inside_document});
    } else if (valid_fraction > 0) {
      held_out_.push_back({source.path, 0, all, false});
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
    const TokenStream stream = All(*dataset);
    RETURN_IF_ERROR(CheckSize(source, stream, "data.valid"));
    valid_streams_.push_back(stream);
  }
  return absl::OkStatus();
}

CorpusSplit PackedCorpus::Split(const IndexedDataset& dataset,
                                double fraction) const {
  if (options_.split == SplitRule::kTokens)
    return SplitTokens(All(dataset), fraction, options_.sequence_length);
  return SplitDocuments(dataset, fraction, options_.sequence_length, bos_id_,
                        options_.vocab_size);
}

absl::Status PackedCorpus::CheckSize(const CorpusSource& source,
                                     const TokenStream& stream,
                                     absl::string_view key) const {
  if (stream.size() >= SampleTokens()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      key, ": ", source.path, " has ", Counted(stream.size(), "token"),
      ", one sample of batch.sequence_length (", options_.sequence_length,
      ") needs ", SampleTokens()));
}

absl::Status PackedCorpus::NothingHeldOut() const {
  const auto& longest =
      *std::max_element(held_out_.begin(), held_out_.end(),
                        [](const HeldOut& a, const HeldOut& b) {
                          return a.all_tokens < b.all_tokens;
                        });
  return absl::InvalidArgumentError(absl::StrCat(
      "data.valid_fraction is ", options_.config.valid_fraction(), ", but ",
      longest.path, " has ", Counted(longest.all_tokens, "token"),
      held_out_.size() > 1 ? ", the most of all sources" : "",
      ", one sample for training and one to hold out need ", 2 * SampleTokens(),
      " (batch.sequence_length is ", options_.sequence_length,
      "): set it to 0 or name data.valid"));
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
