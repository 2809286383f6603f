#include "launch/command/tokenize_command.h"

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/base/cores.h"
#include "comm/base/counted.h"
#include "comm/base/status_macros.h"
#include "data/indexed_dataset.h"
#include "data/storage/file_system.h"
#include "data/text/tokenizer.h"
#include "data/text/tokenizer_trainer.h"
#include "data/token_type.h"
#include "data/tokenize.h"
#include "launch/command/command_line.h"
#include "launch/command/inspect_tokens.h"

namespace moe {
namespace {

constexpr int64_t kDefaultVocabSize = 8192;
constexpr int64_t kMostVocabSize = 1 << 24;
constexpr int64_t kMostWorkers = 4096;

struct Typed {
  std::vector<std::string> inputs;
  std::string output;
  std::string tokenizer;
  int64_t vocab_size = 0;  // 0: not given
  int64_t workers = 0;     // 0: all cores
  std::string inspect;
};

CommandLine MakeCommandLine(Typed& typed) {
  CommandLine line(
      {.name = "moe-tokenize",
       .purpose = "turns text into Megatron .bin/.idx files of tokens.",
       .examples =
           {"moe-tokenize --input=a.txt --input=b.jsonl --output=data/ab",
            "moe-tokenize --inspect=data/ab --tokenizer=data/ab.model"},
       .exit_codes = {64, 65, 69, 70, 74},
       .own_exit_codes = {
           {75, "stopped on request; no partial file is left"}}});
  line.Add(
      "input", "FILE",
      "a .txt or .jsonl file in UTF-8 with lines of at most 16 MiB; may be "
      "given several times",
      &typed.inputs);
  line.Add("output", "PREFIX",
           "write PREFIX.bin, PREFIX.idx and their digest, PREFIX.digest",
           &typed.output);
  line.Add("tokenizer", "FILE",
           "a SentencePiece model (default: train one, PREFIX.model)",
           &typed.tokenizer);
  line.Add(
      "vocab-size", "N",
      "size of the trained vocabulary (default: 8192, or fewer if the text is "
      "short)",
      &typed.vocab_size);
  line.Add("workers", "N", "number of threads (default: one a core)",
           &typed.workers);
  line.Add(
      "inspect", "PREFIX",
      "print the documents of PREFIX.bin and PREFIX.idx, and write nothing",
      &typed.inspect);
  return line;
}

absl::Status CheckRange(absl::string_view flag, int64_t value, int64_t most) {
  if (value >= 0 && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      flag, " is ", value, ", must be from 0 (the default) to ", most));
}

absl::Status Check(const Typed& typed) {
  RETURN_IF_ERROR(CheckRange("--vocab-size", typed.vocab_size, kMostVocabSize));
  RETURN_IF_ERROR(CheckRange("--workers", typed.workers, kMostWorkers));
  if (!typed.inspect.empty()) {
    if (typed.inputs.empty() && typed.output.empty() && typed.vocab_size == 0 &&
        typed.workers == 0)
      return absl::OkStatus();
    return absl::InvalidArgumentError(
        "--inspect writes nothing: give it without --input, --output, "
        "--vocab-size and --workers");
  }
  if (typed.inputs.empty()) {
    return absl::InvalidArgumentError(
        "--input is missing: name a .txt or .jsonl file");
  }
  if (typed.output.empty()) {
    return absl::InvalidArgumentError(
        "--output is missing: name the prefix of the .bin and .idx files");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeTokenizer(
    const TokenizeCommand& command, const ProgressFunction& progress) {
  if (!command.tokenizer.empty()) {
    ASSIGN_OR_RETURN(auto tokenizer, Tokenizer::Load(command.tokenizer));
    if (command.vocab_size == 0 ||
        command.vocab_size == tokenizer->vocab_size()) {
      return tokenizer;
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "--vocab-size is ", command.vocab_size, ", but ", command.tokenizer,
        " has ", tokenizer->vocab_size(), " pieces: give only --tokenizer"));
  }
  const std::string model = absl::StrCat(command.output_prefix, ".model");
  const std::string what =
      absl::StrCat("learning ", command.vocab_size, " pieces");
  progress(what, 0, 1);
  RETURN_IF_ERROR(TrainTokenizer({.inputs = command.inputs,
                                  .vocab_size = command.vocab_size,
                                  .size_key = "--vocab-size",
                                  .may_shrink = command.vocab_size_may_shrink,
                                  .output = model,
                                  .threads = command.workers,
                                  .program = ""}));
  progress(what, 1, 1);
  return Tokenizer::Load(model);
}

std::string Describe(const TokenizeCommand& command, const Tokenizer& tokenizer,
                     const TokenizeResult& result) {
  std::string text;
  if (command.tokenizer.empty()) {
    text = absl::StrFormat("%s.model: %d pieces", command.output_prefix,
                           tokenizer.vocab_size());
    if (tokenizer.vocab_size() < command.vocab_size) {
      absl::StrAppendFormat(&text,
                            ", not the default %d: the text allows no more",
                            command.vocab_size);
    }
    text += "\n";
  }
  absl::StrAppendFormat(
      &text, "%s.bin, %s.idx: %s, %s (%s), %s of text, %.2f bytes a token\n",
      command.output_prefix, command.output_prefix,
      Counted(result.documents, "document"), Counted(result.tokens, "token"),
      TokenTypeName(TokenTypeFor(tokenizer.vocab_size())),
      Counted(result.text_bytes, "byte"),
      static_cast<double>(result.text_bytes) /
          static_cast<double>(result.tokens));
  return text;
}

}  // namespace

absl::StatusOr<TokenizeCommand> ParseTokenizeCommand(int argc,
                                                     const char* const* argv) {
  Typed typed;
  TokenizeCommand command;
  ASSIGN_OR_RETURN(command.text, MakeCommandLine(typed).Parse(argc, argv));
  if (!command.text.empty()) return command;
  RETURN_IF_ERROR(Check(typed));
  if (typed.tokenizer.empty() && typed.vocab_size == 0) {
    typed.vocab_size = kDefaultVocabSize;
    command.vocab_size_may_shrink = true;
  }
  command.inspect = IndexedDatasetPrefix(typed.inspect);
  command.inputs = std::move(typed.inputs);
  command.output_prefix = IndexedDatasetPrefix(typed.output);
  command.tokenizer = std::move(typed.tokenizer);
  command.vocab_size = static_cast<int>(typed.vocab_size);
  command.workers =
      typed.workers == 0 ? AvailableCores() : static_cast<int>(typed.workers);
  return command;
}

absl::StatusOr<std::string> RunTokenizeCommand(const TokenizeCommand& command,
                                               const ProgressFunction& progress,
                                               const SayFunction& say) {
  if (!command.inspect.empty()) {
    return InspectTokens(command.inspect, command.tokenizer);
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   MakeTokenizer(command, progress));
  ASSIGN_OR_RETURN(const TokenizeResult result,
                   TokenizeFiles(PosixFileSystem(),
                                 {.inputs = command.inputs,
                                  .tokenizer = tokenizer.get(),
                                  .output_prefix = command.output_prefix,
                                  .threads = command.workers},
                                 [&](int64_t done, int64_t total) {
                                   progress("tokenizing", done, total);
                                 }));
  for (const IllFormedText& text : result.ill_formed)
    say(IllFormedWarning(text));
  return Describe(command, *tokenizer, result);
}

}  // namespace moe
