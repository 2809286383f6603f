#include "launch/command/checkpoint_text.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "launch/command/text_table.h"
#include "nlohmann/json.hpp"
#include "trainer/config/units.h"

namespace moe {
namespace {

using Json = nlohmann::ordered_json;
using Kind = TensorDifference::Kind;

std::string Line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string Samples(const ListedCheckpoint& listed) {
  if (!listed.manifest.has_value()) return "?";
  const int64_t samples = listed.manifest->consumed_samples();
  if (listed.sequence_length == 0) return WithCommas(samples, "sample");
  return WithCommas(samples * listed.sequence_length);
}

std::string StateText(const ListedCheckpoint& listed) {
  std::string text = Name(listed.state);
  if (listed.problems.empty()) return text;
  absl::StrAppend(&text, ": ", listed.problems.front());
  if (listed.problems.size() > 1)
    absl::StrAppend(&text, ", and ", listed.problems.size() - 1, " more");
  return text;
}

const char* Name(Kind kind) {
  switch (kind) {
    case Kind::kEqual:
      return "equal";
    case Kind::kElements:
      return "elements";
    case Kind::kType:
      return "type";
    case Kind::kShape:
      return "shape";
    case Kind::kOnlyInA:
      return "only in A";
    case Kind::kOnlyInB:
      return "only in B";
  }
  return "";
}

bool IsComparable(Kind kind) {
  return kind == Kind::kEqual || kind == Kind::kElements || kind == Kind::kType;
}

std::vector<std::string> DiffRow(const TensorDifference& difference) {
  const bool comparable = IsComparable(difference.kind);
  std::string name = difference.name;
  if (!difference.state.empty())
    absl::StrAppend(&name, " (", difference.state, ")");
  if (difference.kind != Kind::kElements) {
    absl::StrAppend(&name, ": ", Name(difference.kind),
                    difference.note.empty() ? "" : " ", difference.note);
  }
  return {comparable ? absl::StrFormat("%.3g", difference.largest) : "-",
          comparable ? absl::StrFormat("%.3g", difference.relative) : "-",
          name};
}

}  // namespace

std::string ListText(const std::vector<ListedCheckpoint>& all) {
  std::vector<std::vector<std::string>> rows = {
      {"step", "tokens", "size", "valid loss", "written by", "state"}};
  for (const ListedCheckpoint& listed : all) {
    const bool known = listed.manifest.has_value();
    rows.push_back({absl::StrCat(listed.step), Samples(listed),
                    FormatBytes(listed.num_bytes),
                    known && listed.manifest->has_valid_loss()
                        ? absl::StrFormat("%.4f", listed.manifest->valid_loss())
                        : "-",
                    known ? LayoutText(*listed.manifest) : "?",
                    StateText(listed)});
  }
  return TextTable(rows, {true, true, true, true, false, false});
}

std::string ListJson(const std::vector<ListedCheckpoint>& all) {
  std::string text;
  for (const ListedCheckpoint& listed : all) {
    Json json = {{"name", listed.name},
                 {"step", listed.step},
                 {"state", Name(listed.state)},
                 {"problems", listed.problems},
                 {"bytes", listed.num_bytes}};
    if (listed.manifest.has_value()) {
      const CheckpointManifest& manifest = *listed.manifest;
      json["samples"] = manifest.consumed_samples();
      if (listed.sequence_length > 0)
        json["tokens"] = manifest.consumed_samples() * listed.sequence_length;
      if (manifest.has_valid_loss()) json["valid_loss"] = manifest.valid_loss();
      json["ranks"] = manifest.ranks();
      json["tensor_parallel"] = manifest.tensor_parallel();
      json["expert_parallel"] = manifest.expert_parallel();
    }
    text += Line(json);
  }
  return text;
}

std::string AuditText(const CheckpointAudit& audit) {
  if (!audit.problems.empty()) {
    std::string text =
        absl::StrCat(audit.path, ": ", Name(audit.trouble), "\n");
    for (const std::string& problem : audit.problems)
      absl::StrAppend(&text, "  ", problem, "\n");
    return text;
  }
  if (!audit.has_manifest) {
    return absl::StrCat(audit.path, ": well-formed: ", audit.num_tensors,
                        " tensors of the model, all finite; no manifest, so "
                        "nothing tells whether bytes were changed\n");
  }
  return absl::StrCat(audit.path, ": whole: ", audit.num_files, " files, ",
                      FormatBytes(audit.num_bytes), ", as they were written; ",
                      audit.num_tensors,
                      " tensors and their moments, all finite\n");
}

std::string AuditJson(const CheckpointAudit& audit) {
  return Line(
      {{"checkpoint", audit.path},
       {"whole", audit.problems.empty()},
       {"state",
        audit.problems.empty() ? "whole" : std::string(Name(audit.trouble))},
       {"problems", audit.problems},
       {"manifest", audit.has_manifest},
       {"files", audit.num_files},
       {"bytes", audit.num_bytes},
       {"tensors", audit.num_tensors},
       {"moments", audit.has_moments}});
}

std::string DiffText(const std::vector<TensorDifference>& differences) {
  std::vector<std::vector<std::string>> rows = {
      {"largest", "relative", "tensor"}};
  int64_t equal = 0;
  for (const TensorDifference& difference : differences) {
    if (difference.kind == Kind::kEqual) {
      ++equal;
    } else {
      rows.push_back(DiffRow(difference));
    }
  }
  const size_t all = differences.size();
  if (rows.size() == 1)
    return absl::StrCat("all ", all, " tensors are equal to the bit\n");
  return absl::StrCat(TextTable(rows, {true, true, false}), rows.size() - 1,
                      " of ", all, " tensors differ; ", equal,
                      " are equal to the bit\n");
}

std::string DiffJson(const std::vector<TensorDifference>& differences) {
  std::string text;
  for (const TensorDifference& difference : differences) {
    Json json = {{"tensor", difference.name},
                 {"equal", difference.kind == Kind::kEqual},
                 {"kind", Name(difference.kind)}};
    if (!difference.state.empty()) json["state"] = difference.state;
    if (!difference.note.empty()) json["note"] = difference.note;
    if (IsComparable(difference.kind)) {
      json["largest"] = difference.largest;
      json["relative"] = difference.relative;
    }
    text += Line(json);
  }
  return text;
}

}  // namespace moe
