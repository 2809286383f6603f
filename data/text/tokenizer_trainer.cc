#include "data/text/tokenizer_trainer.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "comm/base/status_macros.h"
#include "data/storage/child_process.h"
#include "data/storage/file_system.h"
#include "data/storage/temporary_path.h"
#include "data/text/sentence_writer.h"
#include "data/text/text_reader.h"
#include "data/text/tokenizer.h"

namespace moe {
namespace {

constexpr int64_t kMaxTextBytes = int64_t{1} << 30;
constexpr int64_t kMaxOutputBytes = int64_t{16} << 20;
constexpr size_t kShownBytes = 600;  // of spm_train's output, in an error
constexpr int kMaxThreads = 128;     // of spm_train
// spm_train names the least size only if there is room for its control
// pieces; fewer are never enough either.
constexpr int kLeastAsked = 4;

// spm_train works in a directory of its own and knows files by these names:
// in its flags a comma would divide a path.
constexpr char kTextName[] = "text";
constexpr char kModelPrefix[] = "tokenizer";
constexpr char kOutputName[] = "output";

absl::StatusOr<int64_t> DocumentStride(const TokenizerTrainerOptions& options) {
  int64_t bytes = 0;
  for (const std::string& input : options.inputs) {
    ASSIGN_OR_RETURN(const int64_t size, PosixFileSystem().FileSize(input));
    bytes += size;
  }
  return std::max<int64_t>(1, (bytes + kMaxTextBytes - 1) / kMaxTextBytes);
}

absl::Status WriteText(const TokenizerTrainerOptions& options,
                       const std::string& path) {
  FileSystem& files = PosixFileSystem();
  ASSIGN_OR_RETURN(const int64_t stride, DocumentStride(options));
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, files.Create(path));
  SentenceWriter writer(std::move(file));
  int64_t index = 0;
  for (const std::string& input : options.inputs) {
    ASSIGN_OR_RETURN(const std::unique_ptr<TextReader> reader,
                     TextReader::Open(files, input));
    std::string storage;
    while (const std::optional<DocumentPlace> place = reader->Next()) {
      if (index++ % stride != 0) continue;
      ASSIGN_OR_RETURN(const absl::string_view text,
                       reader->Text(*place, storage));
      RETURN_IF_ERROR(writer.Add(text));
    }
  }
  RETURN_IF_ERROR(writer.Close());
  if (writer.bytes_written() > 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("no text to learn a vocabulary from in ",
                   absl::StrJoin(options.inputs, ", ")));
}

std::vector<std::string> Command(const TokenizerTrainerOptions& options) {
  std::string program = options.program;
  if (program.empty() && access(MOE_SPM_TRAIN, X_OK) == 0) {
    program = MOE_SPM_TRAIN;
  }
  if (program.empty()) program = "spm_train";
  return {
      program,
      absl::StrCat("--input=", kTextName),
      absl::StrCat("--model_prefix=", kModelPrefix),
      absl::StrCat("--vocab_size=", std::max(options.vocab_size, kLeastAsked)),
      absl::StrCat("--num_threads=",
                   std::clamp(options.threads, 1, kMaxThreads)),
      absl::StrCat("--max_sentence_length=", SentenceWriter::kMaxLineBytes),
      "--model_type=bpe",
      "--character_coverage=0.99995",
      "--byte_fallback=true",
      "--split_digits=true",
      "--allow_whitespace_only_pieces=true",
      "--normalization_rule_name=identity",
      "--remove_extra_whitespaces=false",
      "--input_sentence_size=1000000",
      "--shuffle_input_sentence=true",
      "--random_seed=1",
      "--minloglevel=1"};
}

// The number behind `words` in spm_train's output.
std::optional<int> NumberBehind(absl::string_view output,
                                absl::string_view words) {
  const size_t at = output.find(words);
  if (at == absl::string_view::npos) return std::nullopt;
  const absl::string_view rest = output.substr(at + words.size());
  const size_t digits =
      std::min(rest.find_first_not_of("0123456789"), rest.size());
  int number = 0;
  if (!absl::SimpleAtoi(rest.substr(0, digits), &number)) return std::nullopt;
  return number;
}

// spm_train says "Vocabulary size too high (5000). Please set it to a value <=
// 296."
std::optional<int> MostPieces(absl::string_view output) {
  return NumberBehind(output, "set it to a value <= ");
}

// Or "Vocabulary size is smaller than required_chars. 4 vs 270."
absl::Status SizeError(const TokenizerTrainerOptions& options,
                       absl::string_view output) {
  const std::string asked =
      absl::StrCat(options.size_key, " is ", options.vocab_size);
  const int passed = std::max(options.vocab_size, kLeastAsked);
  const std::string too_small =
      absl::StrCat("smaller than required_chars. ", passed, " vs ");
  if (const auto least = NumberBehind(output, too_small)) {
    return absl::InvalidArgumentError(
        absl::StrCat(asked, ", must be at least ", *least, " for ",
                     absl::StrJoin(options.inputs, ", "),
                     " (every character and 256 bytes are pieces)"));
  }
  if (const auto most = MostPieces(output)) {
    return absl::InvalidArgumentError(
        absl::StrCat(asked, ", must be at most ", *most, " for ",
                     absl::StrJoin(options.inputs, ", "),
                     " (the text has no more words to make pieces of)"));
  }
  return absl::OkStatus();
}

// What a library of its says where something is refused to it.
bool SaysAnyOf(absl::string_view output,
               std::initializer_list<absl::string_view> words) {
  for (const absl::string_view word : words)
    if (absl::StrContains(output, word)) return true;
  return false;
}

absl::Status ChildError(const ChildExit& exit, absl::string_view output) {
  if (output.size() > kShownBytes) {
    output.remove_prefix(output.size() - kShownBytes);
  }
  const std::string message =
      absl::StrCat("spm_train ended with ", exit.ToString(), ": ", output);
  if (SaysAnyOf(output, {"std::bad_alloc", strerror(ENOMEM), strerror(EAGAIN)}))
    return absl::ResourceExhaustedError(message);
  if (SaysAnyOf(output, {strerror(ENOSPC), strerror(EFBIG), strerror(EDQUOT)}))
    return absl::AbortedError(message);
  switch (exit.signal) {
    case SIGINT:
    case SIGTERM:
      return absl::CancelledError(message);
    case SIGKILL:  // by the kernel, as a rule, for want of memory
      return absl::ResourceExhaustedError(message);
    case SIGXFSZ:  // ulimit -f
      return absl::AbortedError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::Status RunTrainer(const TokenizerTrainerOptions& options,
                        const std::string& directory) {
  ChildProcess child;
  child.command = Command(options);
  child.directory = directory;
  child.output_path = JoinPath(directory, kOutputName);
  const absl::StatusOr<ChildExit> exit = RunChild(child);
  if (absl::IsNotFound(exit.status())) {
    return absl::UnimplementedError(absl::StrCat(
        exit.status().message(),
        "; a vocabulary is trained by the Debian package sentencepiece"));
  }
  RETURN_IF_ERROR(exit.status());
  if (exit->signal == 0 && exit->code == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(
      const std::string output,
      PosixFileSystem().ReadFile(child.output_path, kMaxOutputBytes));
  const std::optional<int> most = MostPieces(output);
  if (options.may_shrink && most.has_value()) {
    TokenizerTrainerOptions fewer = options;
    fewer.vocab_size = *most;
    fewer.may_shrink = false;
    return RunTrainer(fewer, directory);
  }
  RETURN_IF_ERROR(SizeError(options, output));
  return ChildError(*exit, output);
}

}  // namespace

absl::Status TrainTokenizer(const TokenizerTrainerOptions& options) {
  FileSystem& files = PosixFileSystem();
  const std::string directory = absl::StrCat(options.output, ".training");
  const TemporaryPath temporary(files, directory);
  RETURN_IF_ERROR(files.Remove(directory));  // of a run that was killed
  RETURN_IF_ERROR(files.MakeDirectories(directory));
  RETURN_IF_ERROR(WriteText(options, JoinPath(directory, kTextName)));
  RETURN_IF_ERROR(RunTrainer(options, directory));
  const std::string model_path =
      JoinPath(directory, absl::StrCat(kModelPrefix, ".model"));
  ASSIGN_OR_RETURN(const std::string model,
                   files.ReadFile(model_path, kMaxModelBytes));
  RETURN_IF_ERROR(Annotate(Tokenizer::FromBytes(model).status(),
                           "what spm_train has made"));
  return WriteFileAtomically(files, options.output, model);
}

}  // namespace moe
