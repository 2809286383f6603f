#include "data/text/sentencepiece_model.h"

#include <cmath>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/base/status_macros.h"
#include "data/text/sentencepiece_model.pb.h"
#include "data/text/utf8.h"

namespace moe {
namespace {

constexpr int kBpe = 2;  // TrainerSpec.model_type
constexpr size_t kMaxPieceBytes = 2048;
// A vocabulary of 256,000 pieces has some 600,000. Each takes memory, and a
// file may say as many as it has bytes.
constexpr int64_t kMaxMerges = 3'000'000;

absl::Status NoModel(absl::string_view why) {
  return absl::DataLossError(
      absl::StrCat("is not a SentencePiece model: ", why));
}

absl::Status CheckNormalizer(const SentencePieceModelProto::Normalizer& spec,
                             absl::string_view which) {
  if (spec.precompiled_charsmap().empty()) return absl::OkStatus();
  const absl::string_view name =
      spec.name().empty() ? "without a name" : absl::string_view(spec.name());
  return absl::FailedPreconditionError(absl::StrCat("the model's ", which,
                                                    " is ", absl::CEscape(name),
                                                    ", must be identity"));
}

absl::Status CheckKind(const SentencePieceModelProto& proto) {
  static constexpr absl::string_view kTypes[] = {"", "unigram", "BPE", "word",
                                                 "char"};
  const int type = proto.trainer().model_type();
  if (type < 1 || type > 4) {
    return NoModel(absl::StrCat("its model_type is ", type));
  }
  if (type != kBpe) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the model's type is ", kTypes[type], ", must be ", kTypes[kBpe]));
  }
  if (proto.trainer().treat_whitespace_as_suffix()) {
    return absl::FailedPreconditionError(
        "the model has treat_whitespace_as_suffix, must be without");
  }
  RETURN_IF_ERROR(CheckNormalizer(proto.normalizer(), "normalizer"));
  return CheckNormalizer(proto.denormalizer(), "denormalizer");
}

absl::Status CheckPiece(const SentencePieceModelProto::Piece& piece, int id) {
  const std::string& text = piece.piece();
  if (text.empty()) return NoModel(absl::StrCat("piece ", id, " is empty"));
  if (text.size() > kMaxPieceBytes) {
    return NoModel(absl::StrCat("piece ", id, " has ", text.size(),
                                " bytes, must be at most ", kMaxPieceBytes));
  }
  if (ValidUtf8Prefix(text) != text.size() ||
      text.find('\0') != std::string::npos) {
    return NoModel(absl::StrCat("piece ", id, ", ", absl::CEscape(text),
                                ", is not UTF-8 text"));
  }
  if (piece.type() < 1 || piece.type() > 6) {
    return NoModel(absl::StrCat("the type of piece ", id, " is ", piece.type(),
                                ", must be 1 to 6"));
  }
  if (std::isnan(piece.score())) {
    return NoModel(absl::StrCat("the score of piece ", id, " is no number"));
  }
  return absl::OkStatus();
}

using PieceIds = absl::flat_hash_map<absl::string_view, int>;

// The id of each piece's text; no two may have the same.
absl::StatusOr<PieceIds> IndexPieces(const SentencePieceModel& model) {
  PieceIds ids;
  ids.reserve(model.pieces.size());
  for (const SentencePiece& piece : model.pieces) {
    const int id = static_cast<int>(ids.size());
    const auto [entry, is_new] = ids.emplace(piece.text, id);
    if (!is_new) {
      return NoModel(absl::StrCat("pieces ", entry->second, " and ", id,
                                  " are both ", absl::CEscape(piece.text)));
    }
  }
  return ids;
}

absl::Status FindUnknown(SentencePieceModel& model) {
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    if (model.pieces[id].type != PieceType::kUnknown) continue;
    if (model.unk_id >= 0) {
      return NoModel(absl::StrCat("pieces ", model.unk_id, " and ", id,
                                  " are both the unknown piece"));
    }
    model.unk_id = static_cast<int>(id);
  }
  return model.unk_id >= 0 ? absl::OkStatus() : NoModel("no unknown piece");
}

absl::Status FindBytes(const PieceIds& ids, SentencePieceModel& model) {
  int found = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const auto entry = ids.find(absl::StrFormat("<0x%02X>", byte));
    if (entry == ids.end()) continue;
    const int id = entry->second;
    if (model.pieces[static_cast<size_t>(id)].type != PieceType::kByte)
      continue;
    model.byte_ids[static_cast<size_t>(byte)] = id;
    ++found;
  }
  int of_type = 0;
  for (const SentencePiece& piece : model.pieces) {
    if (piece.type == PieceType::kByte) ++of_type;
  }
  if (of_type != found) {
    return NoModel("a byte piece is not of the form <0xNN>");
  }
  const int wanted = model.byte_fallback ? 256 : 0;
  if (found == wanted) return absl::OkStatus();
  return NoModel(absl::StrCat(
      "it has ", found, " byte pieces, must be ", wanted,
      model.byte_fallback ? " with" : " without", " byte_fallback"));
}

// Counts the cuts of pieces into two that are pieces or characters.
absl::Status CheckMerges(const PieceIds& ids, const SentencePieceModel& model) {
  const auto is_symbol = [&](absl::string_view text) {
    return ids.contains(text) || Utf8CharacterLength(text) == text.size();
  };
  int64_t merges = 0;
  for (const SentencePiece& piece : model.pieces) {
    if (!piece.IsOfText()) continue;
    const absl::string_view text = piece.text;
    for (size_t cut = Utf8CharacterLength(text); cut < text.size();
         cut += Utf8CharacterLength(text.substr(cut))) {
      if (is_symbol(text.substr(0, cut)) && is_symbol(text.substr(cut)))
        ++merges;
    }
    if (merges > kMaxMerges) {
      return absl::FailedPreconditionError(
          absl::StrCat("the model's pieces merge in more than ", kMaxMerges,
                       " ways, the most that are taken"));
    }
  }
  return absl::OkStatus();
}

// The id of a control piece of this text, or -1.
int FindControl(const SentencePieceModel& model, const PieceIds& ids,
                const std::string& text) {
  const auto entry = ids.find(text);
  if (entry == ids.end()) return -1;
  const size_t id = static_cast<size_t>(entry->second);
  return model.pieces[id].type == PieceType::kControl ? entry->second : -1;
}

}  // namespace

std::vector<absl::string_view> SentencePieceModel::UserDefinedTexts() const {
  std::vector<absl::string_view> texts;
  for (const SentencePiece& piece : pieces) {
    if (piece.type == PieceType::kUserDefined) texts.push_back(piece.text);
  }
  return texts;
}

absl::StatusOr<SentencePieceModel> ParseSentencePieceModel(
    absl::string_view bytes) {
  if (static_cast<int64_t>(bytes.size()) > kMaxModelBytes) {
    return absl::FailedPreconditionError(
        absl::StrCat("the model has ", bytes.size(), " bytes, must be at most ",
                     kMaxModelBytes));
  }
  SentencePieceModelProto proto;
  if (!proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return NoModel("no ModelProto message");
  }
  if (proto.pieces().empty()) return NoModel("it has no pieces");
  RETURN_IF_ERROR(CheckKind(proto));

  SentencePieceModel model;
  model.pieces.reserve(static_cast<size_t>(proto.pieces_size()));
  for (const SentencePieceModelProto::Piece& piece : proto.pieces()) {
    RETURN_IF_ERROR(CheckPiece(piece, static_cast<int>(model.pieces.size())));
    model.pieces.push_back(
        {piece.piece(), piece.score(), static_cast<PieceType>(piece.type())});
  }
  model.byte_fallback = proto.trainer().byte_fallback();
  model.unk_surface = proto.trainer().unk_surface();
  model.add_dummy_prefix = proto.normalizer().add_dummy_prefix();
  model.remove_extra_whitespaces =
      proto.normalizer().remove_extra_whitespaces();
  model.escape_whitespaces = proto.normalizer().escape_whitespaces();

  ASSIGN_OR_RETURN(const PieceIds ids, IndexPieces(model));
  RETURN_IF_ERROR(FindUnknown(model));
  RETURN_IF_ERROR(FindBytes(ids, model));
  RETURN_IF_ERROR(CheckMerges(ids, model));
  model.bos_id = FindControl(model, ids, proto.trainer().bos_piece());
  model.eos_id = FindControl(model, ids, proto.trainer().eos_piece());
  return model;
}

}  // namespace moe
