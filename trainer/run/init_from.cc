#include "trainer/run/init_from.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "comm/base/status_macros.h"
#include "comm/process_groups.h"
#include "data/text/hf_tokenizer.h"
#include "data/text/tokenizer.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/store/parallel_tasks.h"
#include "trainer/checkpoint/store/stored_checkpoint.h"
#include "trainer/checkpoint/store/weight_values.h"
#include "trainer/config/config_compare.h"
#include "trainer/config/config_text.h"
#include "trainer/config/some_of.h"

namespace moe {
namespace {

using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;

constexpr char kFlag[] = "--init-from";

// A key that two configurations have, with both values.
struct Pair {
  std::string key;
  const FieldDescriptor& field;
  const Message& a;  // sections
  const Message& b;
};

// The keys that `a` has and of which `wants(b's section, field)`.
template <typename Wants>
std::vector<Pair> PairsOf(const TrainConfig& a, const TrainConfig& b,
                          Wants wants) {
  std::vector<Pair> pairs;
  std::vector<const FieldDescriptor*> sections;
  a.GetReflection()->ListFields(a, &sections);
  for (const FieldDescriptor* section : sections) {
    const Message& of_a = a.GetReflection()->GetMessage(a, section);
    const Message& of_b = b.GetReflection()->GetMessage(b, section);
    std::vector<const FieldDescriptor*> fields;
    of_a.GetReflection()->ListFields(of_a, &fields);
    for (const FieldDescriptor* field : fields) {
      if (!wants(of_b, field)) continue;
      pairs.push_back({absl::StrCat(section->name(), ".", field->name()),
                       *field, of_a, of_b});
    }
  }
  return pairs;
}

bool HasField(const Message& section, const FieldDescriptor* field) {
  return section.GetReflection()->HasField(section, field);
}

// Numbers that went through float32, as those of some writers, are the same.
bool IsSame(const Pair& pair) {
  if (pair.field.cpp_type() != FieldDescriptor::CPPTYPE_DOUBLE)
    return ConfigValueText(pair.a, pair.field) ==
           ConfigValueText(pair.b, pair.field);
  return static_cast<float>(
             pair.a.GetReflection()->GetDouble(pair.a, &pair.field)) ==
         static_cast<float>(
             pair.b.GetReflection()->GetDouble(pair.b, &pair.field));
}

// The checkpoint that a path means. Another run may be writing there: all
// ranks find the same, or each would look at a share of another. Collective.
absl::StatusOr<std::string> FindSource(const std::string& path,
                                       FileSystem& files, ProcessGroup& world) {
  const absl::StatusOr<std::string> found = FindCheckpoint(files, path);
  RETURN_IF_ERROR(AgreeOnStatus(found.status(), world));
  auto first = static_cast<int64_t>(Digest(*found));
  RETURN_IF_ERROR(
      world.Broadcast(ViewOf(absl::MakeSpan(&first, 1)), /*root=*/0));
  absl::Status same;
  if (first != static_cast<int64_t>(Digest(*found))) {
    same = absl::AbortedError(
        absl::StrCat(path, " has got a new checkpoint, ", *found,
                     ", just now: name the one that is meant"));
  }
  RETURN_IF_ERROR(AgreeOnStatus(same, world));
  return found;
}

absl::Status CheckWindow(const SourceWords& words, const TrainConfig& config) {
  const int64_t length = config.batch().sequence_length();
  const int window = words.config.sliding_window;
  if (window == 0 || length <= window) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(words.directory, ": sliding_window is ", window,
                   ", must be null or at least batch.sequence_length (", length,
                   "): attention within a window is not computed"));
}

// A file of a tokenizer that we do not know.
bool IsUnknownTokenizerFile(const std::string& name) {
  return (absl::StartsWith(name, "tokenizer") ||
          absl::StartsWith(name, "chat_template") || name == "vocab.json" ||
          name == "merges.txt") &&
         !IsTokenizerFile(name) && !IsMoreTokenizerFile(name);
}

// The files in whose place the run has others of the tokenizer at `path`. One
// that cannot be read here may be another.
std::vector<std::string> ReplacedFiles(const SourceWords& words,
                                       const std::string& path, bool add_bos) {
  const auto tokenizer = Tokenizer::Load(path);
  std::vector<NamedFile> ours;
  if (tokenizer.ok()) ours = HuggingFaceTokenizerFiles(**tokenizer, add_bos);
  std::vector<std::string> replaced;
  for (const NamedFile& theirs : words.tokenizer_files) {
    const bool stays =
        IsMoreTokenizerFile(theirs.name) ||
        std::any_of(ours.begin(), ours.end(), [&](const NamedFile& file) {
          return file.name == theirs.name && file.contents == theirs.contents;
        });
    if (!stays) replaced.push_back(theirs.name);
  }
  return replaced;
}

// What of the source's tokenizer does not go into what is saved; empty: all
// does.
std::string NotCarriedText(const SourceWords& words, const DataConfig& data,
                           FileSystem& files) {
  std::vector<std::string> parts;
  const bool typed = !data.tokenizer().empty();
  const std::string path =
      typed ? data.tokenizer() : JoinPath(words.directory, kTokenizerFile);
  // Without one of its own the run carries the files as they are.
  if (typed || Tokenizer::Load(path).ok()) {
    for (const std::string& name : ReplacedFiles(words, path, data.add_bos()))
      parts.push_back(absl::StrCat(name, " (made anew of ", path, ")"));
  }
  const auto names = files.List(words.directory);
  if (names.ok()) {
    for (const std::string& name : *names)
      if (IsUnknownTokenizerFile(name))
        parts.push_back(absl::StrCat(name, " (not known here)"));
  }
  if (parts.empty()) return "";
  return absl::StrCat("not carried on from ", words.directory, ": ",
                      absl::StrJoin(parts, ", "));
}

std::vector<std::string> Notes(const InitSource& source, const DataConfig& data,
                               FileSystem& files) {
  constexpr size_t kShown = 2;
  std::vector<std::string> notes;
  const std::vector<std::string> tensors = source.weights->PassedOver();
  if (!tensors.empty()) {
    notes.push_back(absl::StrCat("passed over in ", source.words.directory,
                                 ": ", SomeOf(tensors, kShown),
                                 ", which are computed from config.json"));
  }
  for (const std::string& word : source.words.config.not_applied) {
    notes.push_back(absl::StrCat("not applied of ", source.words.directory,
                                 ": ", word, ", which is for training alone"));
  }
  const std::string not_carried = NotCarriedText(source.words, data, files);
  if (!not_carried.empty()) notes.push_back(not_carried);
  return notes;
}

// The tensors, by this rank's share of their elements.
absl::Status CheckWeights(const WeightsLoader& weights,
                          const TrainConfig& config,
                          const ProcessGroup& world) {
  RETURN_IF_ERROR(weights.Check(WholeTable(config.model())));
  const int threads = std::max(1, config.run().threads());
  return RunTasks(threads, threads, [&](int64_t i) {
    return CheckWeightValues(weights, config.model(),
                             world.rank() * threads + static_cast<int>(i),
                             world.size() * threads);
  });
}

absl::StatusOr<InitSource> Open(const std::string& directory,
                                const TrainConfig& config, FileSystem& files,
                                const ProcessGroup& world) {
  InitSource source;
  if (files.Exists(JoinPath(directory, kManifestFile))) {
    ASSIGN_OR_RETURN(const CheckpointManifest manifest,
                     LoadManifest(files, directory));
    RETURN_IF_ERROR(
        VerifyShare(files, directory, FilesBesideState(manifest), world));
  }
  ASSIGN_OR_RETURN(source.words,
                   ReadSourceWordsAndTokenizerFiles(files, directory));
  RETURN_IF_ERROR(
      CheckSameModel(directory, source.words.Settings(), WithDefaults(config)));
  RETURN_IF_ERROR(CheckWindow(source.words, config));
  ASSIGN_OR_RETURN(source.weights, WeightsLoader::Open(files, directory));
  RETURN_IF_ERROR(CheckWeights(*source.weights, config, world));
  if (world.rank() == 0) source.notes = Notes(source, config.data(), files);
  return source;
}

}  // namespace

absl::StatusOr<TakenWords> TakeWords(const std::string& path,
                                     const std::optional<FoundCheckpoint>& own,
                                     FileSystem& files) {
  TakenWords taken;
  if (own.has_value()) {
    taken.is_source = false;
    taken.directory = own->path;
    ASSIGN_OR_RETURN(const TrainConfig config,
                     ReadTrainConfig(files, own->path));
    *taken.settings.mutable_model() = config.model();
    taken.settings.mutable_router()->set_renormalize(
        config.router().renormalize());
    // One that is damaged is told of when its bytes are verified.
    const auto saved = ReadModelConfig(files, own->path);
    if (saved.ok()) taken.sliding_window = saved->sliding_window;
    return taken;
  }
  const absl::StatusOr<std::string> source = FindCheckpoint(files, path);
  if (!source.ok()) return Annotate(source.status(), kFlag);
  taken.directory = *source;
  const absl::StatusOr<SourceWords> words =
      ReadSourceWordsAndTokenizerFiles(files, taken.directory);
  if (!words.ok()) return Annotate(words.status(), kFlag);
  taken.settings = words->Settings();
  taken.sliding_window = words->config.sliding_window;
  return taken;
}

std::string TakenText(const TakenWords& taken, const TrainConfig& typed) {
  const std::vector<Pair> pairs =
      PairsOf(taken.settings, typed,
              [](const Message& section, const FieldDescriptor* field) {
                return !HasField(section, field);
              });
  if (pairs.empty()) return "";
  return absl::StrCat(
      "taken from ", taken.directory, ": ",
      absl::StrJoin(pairs, ", ", [](std::string* out, const Pair& pair) {
        absl::StrAppend(out, pair.key, " ",
                        ConfigValueText(pair.a, pair.field));
      }));
}

absl::Status CheckSameModel(const std::string& directory,
                            const TrainConfig& settings,
                            const TrainConfig& given) {
  std::vector<std::string> differences;
  for (const Pair& pair : PairsOf(settings, given, HasField)) {
    const bool computed_head_dim =
        pair.key == "model.head_dim" && given.model().head_dim() == 0;
    if (!IsFixedByCheckpoint(pair.key) || computed_head_dim || IsSame(pair))
      continue;
    differences.push_back(
        absl::StrCat(pair.key, " is ", ConfigValueText(pair.b, pair.field),
                     ", must be ", ConfigValueText(pair.a, pair.field)));
  }
  if (differences.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the configuration contradicts ", directory, ": ",
                   absl::StrJoin(differences, "; "),
                   "; what is left out is taken from the checkpoint"));
}

absl::StatusOr<InitSource> OpenInitSource(const std::string& path,
                                          const TrainConfig& config,
                                          FileSystem& files,
                                          ProcessGroup& world) {
  const absl::StatusOr<std::string> found = FindSource(path, files, world);
  if (!found.ok()) return Annotate(found.status(), kFlag);
  absl::StatusOr<InitSource> source = Open(*found, config, files, world);
  RETURN_IF_ERROR(AgreeOnStatus(Annotate(source.status(), kFlag), world));
  return source;
}

}  // namespace moe
