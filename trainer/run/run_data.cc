#include "trainer/run/run_data.h"

#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/base/cores.h"
#include "comm/base/counted.h"
#include "comm/base/status_macros.h"
#include "comm/process_groups.h"
#include "data/corpus_source.h"
#include "data/storage/digest.h"
#include "data/text/hf_tokenizer.h"
#include "trainer/config/units.h"
#include "trainer/run/rank_zero_work.h"
#include "trainer/run/run_directory.h"

namespace moe {
namespace {

// Every rank reads for itself, perhaps on another node.
absl::Status CheckSameEverywhere(const Corpus& corpus, ProcessGroup& world) {
  const uint64_t tokenizer = corpus.tokenizer() == nullptr
                                 ? 0
                                 : Digest(corpus.tokenizer()->model_bytes());
  const std::array<int64_t, 3> mine = {
      corpus.train().samples_per_epoch(),
      corpus.valid() == nullptr ? 0 : corpus.valid()->samples_per_epoch(),
      std::bit_cast<int64_t>(tokenizer)};
  std::array<int64_t, 3> first = mine;
  RETURN_IF_ERROR(world.Broadcast(ViewOf(absl::MakeSpan(first)), /*root=*/0));
  absl::Status same;
  if (mine != first) {
    same = absl::FailedPreconditionError(
        absl::StrCat("data.train holds ", Counted(mine[0], "sequence"), " and ",
                     mine[1], mine[1] == 1 ? " is" : " are",
                     " held out, on rank 0 ", first[0], " and ", first[1],
                     mine[2] == first[2] ? "" : "; the tokenizers differ too",
                     ": all nodes must see the same data"));
  }
  return AgreeOnStatus(same, world);
}

// Its sources together: how much, and where the cuts are.
std::string HeldOutText(absl::Span<const HeldOut> sources, double fraction) {
  int64_t held_out = 0;
  int64_t all = 0;
  int inside = 0;
  std::string none;
  for (const HeldOut& source : sources) {
    held_out += source.tokens;
    all += source.all_tokens;
    inside += source.inside_document ? 1 : 0;
    if (source.tokens == 0) {
      absl::StrAppend(&none, "; nothing of ", source.path, ", which has ",
                      Counted(source.all_tokens, "token"));
    }
  }
  std::string cut;
  if (inside > 0) cut = "; the cut is inside a document";
  if (inside > 0 && sources.size() > 1)
    cut = absl::StrCat("; cut inside a document in ", inside, " of ",
                       sources.size(), " sources");
  return absl::StrFormat(
      "%.3g %% of the tokens, %.3g %% asked for%s%s",
      100 * static_cast<double>(held_out) / static_cast<double>(all),
      100 * fraction, cut, none);
}

// Whether the checkpoints can have a tokenizer.json.
absl::Status CheckExport(const Corpus& corpus) {
  return corpus.tokenizer() == nullptr
             ? absl::OkStatus()
             : CheckTokenizerExport(*corpus.tokenizer());
}

// What of the validation data a validation reads, if that is not all.
std::string ReadText(const Corpus& corpus, const TrainConfig& config) {
  if (config.eval().interval_steps() == 0)
    return ", never read (eval.interval_steps is 0)";
  const int64_t batches = config.eval().batches();
  const int64_t all = corpus.valid()->samples_per_epoch();
  // As many batches may be asked for as no product has room for.
  const int64_t batch = config.batch().global_size();
  if (batches == 0 || batches > all / batch) return "";
  const int64_t read = batches * batch;
  if (read == all) return "";
  return absl::StrCat(", of which each validation reads the first ",
                      WithCommas(read), " (eval.batches is ", batches, ")");
}

std::string DataText(const Corpus& corpus, const TrainConfig& config) {
  const std::string train =
      absl::StrCat(WithCommas(corpus.train().samples_per_epoch(), "sequence"),
                   " to train on, ");
  if (corpus.valid() == nullptr)
    return absl::StrCat(train, "none held out for validation");
  const std::string valid = WithCommas(corpus.valid()->samples_per_epoch());
  const std::string from =
      corpus.held_out().empty()
          ? " of data.valid for validation"
          : absl::StrCat(
                " held out for validation (",
                HeldOutText(corpus.held_out(), config.data().valid_fraction()),
                ")");
  return absl::StrCat(train, valid, from, ReadText(corpus, config));
}

absl::Status CheckEnoughData(const TrainConfig& config, const Corpus& corpus) {
  const int64_t samples = corpus.train().samples_per_epoch();
  const int64_t batch = config.batch().global_size();
  if (samples >= batch) return absl::OkStatus();
  const bool holds_out = !corpus.held_out().empty();
  return absl::FailedPreconditionError(absl::StrCat(
      "data.train holds ", Counted(samples, "sequence"),
      " of batch.sequence_length (", config.batch().sequence_length(),
      ") tokens",
      holds_out ? absl::StrCat(", beside ", corpus.valid()->samples_per_epoch(),
                               " held out")
                : "",
      ", must be at least one batch: batch.global_size is ", batch));
}

// Nothing if the status is OK.
std::string Note(const absl::Status& status) {
  return status.ok() ? "" : absl::StrCat("Note: ", status.message(), "\n");
}

// Whether the checkpoints could have a tokenizer.json; one that is trained on
// the text always can. Errors of LoadCorpusTokenizer.
absl::StatusOr<std::string> ExportNote(const CorpusSources& sources,
                                       const CorpusOptions& options) {
  if (sources.trains_tokenizer) return std::string();
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   LoadCorpusTokenizer(sources, options));
  return tokenizer == nullptr ? std::string()
                              : Note(CheckTokenizerExport(*tokenizer));
}

// What becomes of model.vocab_size where a vocabulary is learned.
absl::StatusOr<std::string> VocabularyNote(const CorpusOptions& options) {
  ASSIGN_OR_RETURN(const int pieces, PreviewVocabulary(options));
  if (pieces == 0 || pieces == options.vocab_size) return std::string();
  return absl::StrCat("Note: model.vocab_size will be ", pieces, ", not ",
                      options.vocab_size,
                      ": the text allows no more pieces; the sizes above are "
                      "of a model with ",
                      options.vocab_size, "\n");
}

// Whether all text is in the cache already.
bool IsTokenized(const CorpusSources& sources, const CorpusOptions& options) {
  if (sources.TextPaths().empty()) return true;
  const auto tokenizer = Tokenizer::Load(sources.tokenizer_path);
  if (!tokenizer.ok()) return !sources.trains_tokenizer;  // Open tells why
  for (const auto* blend : {&sources.train, &sources.valid}) {
    for (const CorpusSource& source : *blend)
      if (!TokensPrefix(source, options, tokenizer->get()).ok()) return false;
  }
  return true;
}

}  // namespace

CorpusOptions RunDataOptions(const TrainConfig& config,
                             const StartOptions& start,
                             const std::string& share_directory) {
  return {.config = config.data(),
          .vocab_size = config.model().vocab_size(),
          .sequence_length = config.batch().sequence_length(),
          .seed = config.run().seed(),
          .cache_directory = RunDirectory(config.run().directory()).data(),
          .share_directory = share_directory,
          .threads = AvailableCores(),
          .vocabulary_from = start.vocabulary_from,
          .vocab_size_may_shrink = start.vocab_size_may_shrink};
}

absl::StatusOr<RunData> OpenRunData(const TrainConfig& config,
                                    CorpusOptions options,
                                    const RunStart& start, FileSystem& files,
                                    ProcessGroup& world,
                                    const DataListeners& listeners) {
  const std::optional<FoundCheckpoint>& checkpoint = start.checkpoint;
  absl::Status status;
  if (checkpoint.has_value()) {
    TakeFromCheckpoint(*checkpoint, options);
    if (world.rank() == 0)
      status = CheckSameTokenizer(*checkpoint, options, files);
  }
  RETURN_IF_ERROR(AgreeOnStatus(status, world));
  RunData data;
  data.identity.split = options.split;
  const auto prepare = [&]() -> absl::Status {
    RETURN_IF_ERROR(PrepareCorpus(options, listeners.progress, listeners.say));
    ASSIGN_OR_RETURN(data.identity.digest,
                     DigestCorpus(options, /*store=*/true));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(RunOnRankZero(prepare, world));
  absl::StatusOr<std::unique_ptr<Corpus>> corpus = Corpus::Open(options);
  RETURN_IF_ERROR(AgreeOnStatus(corpus.status(), world));
  data.corpus = *std::move(corpus);
  RETURN_IF_ERROR(CheckSameEverywhere(*data.corpus, world));
  if (world.rank() == 0 && checkpoint.has_value()) {
    status = CheckSameTokens(*checkpoint, options, data.identity.digest,
                             *data.corpus);
  }
  RETURN_IF_ERROR(AgreeOnStatus(status, world));
  RETURN_IF_ERROR(AgreeOnStatus(CheckEnoughData(config, *data.corpus), world));
  if (world.rank() != 0) return data;
  if (checkpoint.has_value()) {
    for (const std::string& line :
         WhatIsOlder(*checkpoint, options, *data.corpus))
      listeners.say(line);
  }
  listeners.say(DataText(*data.corpus, config));
  const absl::Status exported = CheckExport(*data.corpus);
  if (!exported.ok()) listeners.say(std::string(exported.message()));
  return data;
}

absl::Status CheckSources(const TrainConfig& config, const StartOptions& start,
                          CorpusOptions options, FileSystem& files) {
  const auto found =
      FindStart(start, RunDirectory(config.run().directory()), files);
  const bool goes_on = found.ok() && found->has_value();
  if (goes_on) TakeFromCheckpoint(**found, options);
  const absl::Status status = FindSources(options).status();
  if (!goes_on || !absl::IsNotFound(status) ||
      (*found)->manifest.train_size() == 0)  // from before digests
    return status;
  return absl::NotFoundError(absl::StrCat(
      status.message(), "; the run goes on from ", (*found)->path,
      ": data that were moved may be given by their new path, since they are "
      "known by what they hold"));
}

DataPreview PreviewData(const TrainConfig& config, const StartOptions& start,
                        CorpusOptions options, FileSystem& files) {
  DataPreview preview;
  const auto refuse = [&preview](const absl::Status& status) {
    if (!status.ok()) preview.refusals.push_back(status);
    return !status.ok();
  };
  // Why a start cannot be found is told by CheckStart.
  const auto found =
      FindStart(start, RunDirectory(config.run().directory()), files);
  const bool goes_on = found.ok() && found->has_value();
  if (goes_on) TakeFromCheckpoint(**found, options);
  const auto sources = FindSources(options);
  if (refuse(sources.status())) return preview;
  if (goes_on && refuse(CheckSameTokenizer(**found, options, files)))
    return preview;
  auto exported = ExportNote(*sources, options);
  if (refuse(exported.status())) return preview;
  const auto vocabulary = VocabularyNote(options);
  if (refuse(vocabulary.status())) return preview;
  *exported += *vocabulary;
  if (!IsTokenized(*sources, options)) {
    preview.text = absl::StrCat(
        "Data\n  how much is held out for validation is known when the text is "
        "tokenized\n",
        *exported);
    return preview;
  }
  const auto corpus = Corpus::Open(options);
  // A run makes a damaged cache of a text anew.
  if (absl::IsDataLoss(corpus.status()) && !sources->TextPaths().empty()) {
    preview.text = Note(corpus.status());
    return preview;
  }
  if (refuse(corpus.status())) return preview;
  preview.text =
      absl::StrCat("Data\n  ", DataText(**corpus, config), "\n", *exported);
  if (goes_on) {
    const auto digest = DigestCorpus(options, /*store=*/false);
    if (refuse(digest.status()) ||
        refuse(CheckSameTokens(**found, options, *digest, **corpus)))
      return preview;
  }
  refuse(CheckEnoughData(config, **corpus));
  return preview;
}

}  // namespace moe
