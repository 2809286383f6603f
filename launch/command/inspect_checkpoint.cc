#include "launch/command/inspect_checkpoint.h"

#include <cmath>
#include <cstdint>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "comm/base/status_macros.h"
#include "launch/command/checkpoint_text.h"
#include "launch/command/text_table.h"
#include "moe/model_config.h"
#include "nlohmann/json.hpp"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/store/parallel_tasks.h"
#include "trainer/checkpoint/store/stored_checkpoint.h"
#include "trainer/checkpoint/tools/checkpoint_audit.h"
#include "trainer/config/units.h"

namespace moe {
namespace {

using Json = nlohmann::ordered_json;

// A tensor, or all of a kind.
struct Shown {
  std::string name;
  std::vector<uint64_t> shape;
  StoredDType dtype = StoredDType::kF32;
  int64_t count = 1;
  double sum_of_squares = 0;
};

struct File {
  std::string name;
  int64_t num_bytes = 0;
};

struct Facts {
  StoredCheckpoint stored;
  int64_t sequence_length = 0;  // 0: not told
  std::vector<File> files;
  std::vector<Shown> tensors;
};

// "model.layers.*.self_attn.q_proj.weight".
std::string KindOf(const std::string& name) {
  std::vector<std::string> parts = absl::StrSplit(name, '.');
  for (std::string& part : parts)
    if (!part.empty() && part.find_first_not_of("0123456789") == part.npos)
      part = "*";
  return absl::StrJoin(parts, ".");
}

std::vector<Shown> ByKind(const std::vector<Shown>& tensors) {
  std::map<std::tuple<std::string, std::vector<uint64_t>, StoredDType>, Shown>
      kinds;
  for (const Shown& tensor : tensors) {
    const std::string kind = KindOf(tensor.name);
    const auto [at, added] =
        kinds.try_emplace({kind, tensor.shape, tensor.dtype}, tensor);
    if (added) {
      at->second.name = kind;
    } else {
      ++at->second.count;
      at->second.sum_of_squares += tensor.sum_of_squares;
    }
  }
  std::vector<Shown> shown;
  for (auto& [key, kind] : kinds) shown.push_back(std::move(kind));
  return shown;
}

absl::StatusOr<std::vector<Shown>> ReadTensors(
    const StoredCheckpoint& stored, int threads,
    const ProgressFunction& progress) {
  const std::vector<WeightsLoader::Entry> entries = stored.weights->Entries();
  int64_t total = 0;
  for (const WeightsLoader::Entry& entry : entries) total += NumElements(entry);
  SharedProgress shared(progress, absl::StrCat("reading ", stored.path), total);
  std::vector<Shown> tensors(entries.size());
  RETURN_IF_ERROR(RunTasks(
      threads, static_cast<int64_t>(entries.size()),
      [&](int64_t i) -> absl::Status {
        const WeightsLoader::Entry& entry = entries[static_cast<size_t>(i)];
        ASSIGN_OR_RETURN(
            const ElementsScan scan,
            ScanElements(
                NumElements(entry), [&](int64_t begin, absl::Span<float> out) {
                  return stored.weights->LoadParameter(entry.name, begin, out);
                }));
        tensors[static_cast<size_t>(i)] = {
            .name = entry.name,
            .shape = entry.shape,
            .dtype = entry.dtype,
            .sum_of_squares = scan.sum_of_squares};
        shared.Add(NumElements(entry));
        return absl::OkStatus();
      }));
  return tensors;
}

absl::StatusOr<Facts> Gather(FileSystem& files, const std::string& path,
                             const InspectOptions& options,
                             const ProgressFunction& progress) {
  Facts facts;
  ASSIGN_OR_RETURN(facts.stored, OpenStoredCheckpoint(files, path));
  RETURN_IF_ERROR(VerifyAsWritten(files, facts.stored.path, Verified::kWeights,
                                  options.threads, progress));
  if (facts.stored.manifest.has_value()) {
    ASSIGN_OR_RETURN(const TrainConfig config,
                     ReadTrainConfig(files, facts.stored.path));
    facts.sequence_length = config.batch().sequence_length();
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> names,
                   files.List(facts.stored.path));
  for (const std::string& name : names) {
    const std::string file = JoinPath(facts.stored.path, name);
    if (files.IsDirectory(file)) continue;
    ASSIGN_OR_RETURN(const int64_t size, files.FileSize(file));
    facts.files.push_back({name, size});
  }
  ASSIGN_OR_RETURN(facts.tensors,
                   ReadTensors(facts.stored, options.threads, progress));
  return facts;
}

std::string ShapeText(const Shown& shown) {
  return absl::StrCat("[", absl::StrJoin(shown.shape, ", "), "]");
}

std::string TensorsText(const Facts& facts, bool each) {
  std::vector<std::vector<std::string>> rows = {
      {"count", "tensor", "shape", "type", "norm"}};
  for (const Shown& shown : each ? facts.tensors : ByKind(facts.tensors)) {
    rows.push_back({absl::StrCat(shown.count), shown.name, ShapeText(shown),
                    std::string(Name(shown.dtype)),
                    absl::StrFormat("%.6g", std::sqrt(shown.sum_of_squares))});
  }
  if (!each) return TextTable(rows, {true, false, false, false, true});
  for (std::vector<std::string>& row : rows) row.erase(row.begin());
  return TextTable(rows, {false, false, false, true});
}

std::string ToText(const Facts& facts, bool each) {
  const StoredCheckpoint& stored = facts.stored;
  std::string text = absl::StrCat(stored.path, "\n");
  if (stored.manifest.has_value()) {
    const CheckpointManifest& manifest = *stored.manifest;
    const int64_t samples = manifest.consumed_samples();
    absl::StrAppend(&text, "step ", manifest.step(), ", ",
                    WithCommas(samples, "sample"), ", ",
                    WithCommas(samples * facts.sequence_length, "token"));
    if (manifest.skipped_steps() > 0)
      absl::StrAppend(&text, ", ", WithCommas(manifest.skipped_steps(), "step"),
                      " skipped");
    if (manifest.has_valid_loss())
      absl::StrAppendFormat(&text, ", valid loss %.4f", manifest.valid_loss());
    absl::StrAppend(&text, "\nwritten by ", LayoutText(manifest), "\n");
  } else {
    absl::StrAppend(&text, "no manifest: not a checkpoint of moe-train\n");
  }
  const ParameterCounts counts = CountParameters(stored.config.model);
  absl::StrAppend(&text, "parameters ", WithCommas(counts.total), " (",
                  WithCommas(counts.active), " active for a token)\n",
                  "optimizer state: ",
                  stored.moments != nullptr ? "present" : "none", "\n");
  const std::vector<std::string> spare = stored.weights->PassedOver();
  if (!spare.empty()) {
    absl::StrAppend(&text, "passed over: ", spare.size(),
                    " tensors of the rotary embedding\n");
  }
  absl::StrAppend(&text, "\n");
  std::vector<std::vector<std::string>> rows = {{"bytes", "file"}};
  for (const File& file : facts.files)
    rows.push_back({WithCommas(file.num_bytes), file.name});
  absl::StrAppend(&text, TextTable(rows, {true, false}), "\n",
                  TensorsText(facts, each));
  return text;
}

Json TensorJson(const Shown& shown) {
  return {{"tensor", shown.name},
          {"count", shown.count},
          {"shape", shown.shape},
          {"dtype", std::string(Name(shown.dtype))},
          {"norm", std::sqrt(shown.sum_of_squares)}};
}

std::string ToJson(const Facts& facts, bool each) {
  const StoredCheckpoint& stored = facts.stored;
  const ParameterCounts counts = CountParameters(stored.config.model);
  Json json = {{"checkpoint", stored.path}};
  if (stored.manifest.has_value()) {
    const CheckpointManifest& manifest = *stored.manifest;
    json["step"] = manifest.step();
    json["skipped_steps"] = manifest.skipped_steps();
    json["samples"] = manifest.consumed_samples();
    json["tokens"] = manifest.consumed_samples() * facts.sequence_length;
    if (manifest.has_valid_loss()) json["valid_loss"] = manifest.valid_loss();
    json["ranks"] = manifest.ranks();
    json["tensor_parallel"] = manifest.tensor_parallel();
    json["expert_parallel"] = manifest.expert_parallel();
  }
  json["parameters"] = counts.total;
  json["active_parameters"] = counts.active;
  json["moments"] = stored.moments != nullptr;
  for (const File& file : facts.files)
    json["files"].push_back({{"name", file.name}, {"bytes", file.num_bytes}});
  if (!each) {
    for (const Shown& kind : ByKind(facts.tensors))
      json["kinds"].push_back(TensorJson(kind));
  }
  constexpr auto kReplace = Json::error_handler_t::replace;
  std::string text = json.dump(-1, ' ', false, kReplace) + "\n";
  if (!each) return text;
  for (const Shown& tensor : facts.tensors)
    text += TensorJson(tensor).dump(-1, ' ', false, kReplace) + "\n";
  return text;
}

}  // namespace

absl::StatusOr<std::string> InspectCheckpoint(
    FileSystem& files, const std::string& path, const InspectOptions& options,
    const ProgressFunction& progress) {
  ASSIGN_OR_RETURN(const Facts facts, Gather(files, path, options, progress));
  return options.json ? ToJson(facts, options.tensors)
                      : ToText(facts, options.tensors);
}

}  // namespace moe
