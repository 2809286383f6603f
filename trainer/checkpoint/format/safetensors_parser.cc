#include <algorithm>
#include <tuple>
#include <unordered_set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "trainer/checkpoint/format/json_handler.h"
#include "trainer/checkpoint/format/safetensors_header.h"

namespace moe {
namespace {

// Far above any framework's; keeps a hostile shape from taking memory.
constexpr size_t kMaxDims = 64;

// A name in a message; a hostile one may be of a hundred megabytes.
absl::string_view Shown(absl::string_view name) { return name.substr(0, 200); }

// Follows the header's JSON. Where it is decides what may come.
class HeaderHandler : public JsonHandler {
 public:
  explicit HeaderHandler(SafetensorsHeader& header) : header_(header) {}

  bool key(string_t& key) override;
  bool start_object(size_t) override;
  bool end_object() override;
  bool start_array(size_t) override;
  bool end_array() override;
  bool string(string_t& value) override;
  bool number_unsigned(number_unsigned_t value) override;

  bool null() override { return Ignored() || JsonHandler::null(); }
  bool boolean(bool b) override { return Ignored() || JsonHandler::boolean(b); }
  bool number_integer(number_integer_t value) override {
    return Ignored() || RefuseHere(absl::StrCat("negative number ", value));
  }
  bool number_float(number_float_t, const string_t& text) override {
    return Ignored() ||
           RefuseHere(absl::StrCat("number ", Shown(text),
                                   ", must be whole and fit 64 bits"));
  }

 private:
  enum class Place {
    kStart,
    kTop,
    kMetadata,
    kTensor,
    kShape,
    kOffsets,
    kUnknown,  // inside the value of a tensor's key that we do not know
  };
  // A tensor's keys, as bits of seen_.
  enum Field { kDType = 1, kShapeField = 2, kOffsetsField = 4, kOther = 8 };

  StoredTensor& tensor() { return header_.tensors.back(); }
  // A value that nobody looks at, however it is built.
  bool Ignored() const {
    return place_ == Place::kUnknown ||
           (place_ == Place::kTensor && field_ == kOther);
  }
  bool RefuseHere(absl::string_view what) {
    return Refuse(absl::StrCat(Shown(name_), ": unexpected ", what));
  }
  bool TensorKey(const std::string& key);
  bool Open();
  bool Close();

  SafetensorsHeader& header_;
  std::unordered_set<std::string> names_;
  Place place_ = Place::kStart;
  std::string name_ = "the header";  // of the tensor, for messages
  std::string metadata_key_;
  Field field_ = kOther;
  int seen_ = 0;
  int num_offsets_ = 0;
  size_t depth_ = 0;  // inside kUnknown
};

bool HeaderHandler::key(string_t& key) {
  switch (place_) {
    case Place::kTop:
      name_ = key;
      return names_.insert(key).second ||
             Refuse(absl::StrCat(Shown(key), " appears twice"));
    case Place::kMetadata:
      metadata_key_ = key;
      return header_.metadata.count(key) == 0 ||
             Refuse(absl::StrCat("metadata ", Shown(key), " appears twice"));
    case Place::kTensor:
      return TensorKey(key);
    default:
      return true;
  }
}

bool HeaderHandler::TensorKey(const std::string& key) {
  field_ = key == "dtype"          ? kDType
           : key == "shape"        ? kShapeField
           : key == "data_offsets" ? kOffsetsField
                                   : kOther;
  if (field_ != kOther && (seen_ & field_) != 0)
    return Refuse(absl::StrCat(Shown(name_), ": ", key, " appears twice"));
  seen_ |= field_;
  return true;
}

// An object or array inside an unknown value.
bool HeaderHandler::Open() {
  place_ = Place::kUnknown;
  ++depth_;
  return true;
}

bool HeaderHandler::Close() {
  if (--depth_ == 0) place_ = Place::kTensor;
  return true;
}

bool HeaderHandler::start_object(size_t) {
  if (Ignored()) return Open();
  if (place_ == Place::kStart) {
    place_ = Place::kTop;
  } else if (place_ == Place::kTop && name_ == "__metadata__") {
    place_ = Place::kMetadata;
  } else if (place_ == Place::kTop) {
    header_.tensors.emplace_back().name = name_;
    seen_ = 0;
    num_offsets_ = 0;
    place_ = Place::kTensor;
  } else {
    return RefuseHere("object");
  }
  return true;
}

bool HeaderHandler::end_object() {
  if (place_ == Place::kUnknown) return Close();
  const int all = kDType | kShapeField | kOffsetsField;
  if (place_ == Place::kTensor && (seen_ & all) != all) {
    return Refuse(absl::StrCat(
        Shown(name_), " needs the keys dtype, shape and data_offsets"));
  }
  place_ = Place::kTop;
  return true;
}

bool HeaderHandler::start_array(size_t) {
  if (Ignored()) return Open();
  if (place_ == Place::kTensor && field_ == kShapeField) {
    place_ = Place::kShape;
  } else if (place_ == Place::kTensor && field_ == kOffsetsField) {
    place_ = Place::kOffsets;
  } else {
    return RefuseHere("array");
  }
  return true;
}

bool HeaderHandler::end_array() {
  if (place_ == Place::kUnknown) return Close();
  if (place_ == Place::kOffsets && num_offsets_ != 2) {
    return Refuse(absl::StrCat(Shown(name_), ": data_offsets holds ",
                               num_offsets_, " numbers, must hold 2"));
  }
  place_ = Place::kTensor;
  return true;
}

bool HeaderHandler::string(string_t& value) {
  if (Ignored()) return true;
  if (place_ == Place::kMetadata) {
    header_.metadata[metadata_key_] = value;
    return true;
  }
  if (place_ != Place::kTensor || field_ != kDType) return RefuseHere("string");
  const absl::StatusOr<StoredDType> dtype = StoredDTypeByName(value);
  if (!dtype.ok())
    return Refuse(absl::StrCat(Shown(name_), ": ", dtype.status().message()));
  tensor().dtype = *dtype;
  return true;
}

bool HeaderHandler::number_unsigned(number_unsigned_t value) {
  if (Ignored()) return true;
  if (place_ == Place::kShape) {
    if (tensor().shape.size() == kMaxDims) {
      return Refuse(
          absl::StrCat(Shown(name_), " has more than ", kMaxDims, " dims"));
    }
    tensor().shape.push_back(value);
    return true;
  }
  if (place_ != Place::kOffsets)
    return RefuseHere(absl::StrCat("number ", value));
  if (num_offsets_ == 0) tensor().begin = value;
  if (num_offsets_ == 1) tensor().end = value;
  ++num_offsets_;
  return true;
}

absl::Status TensorError(const StoredTensor& tensor, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(Shown(tensor.name), ": ", what));
}

// Bytes that the shape and the element type ask for.
absl::StatusOr<uint64_t> BytesByShape(const StoredTensor& tensor) {
  uint64_t bits = static_cast<uint64_t>(BitsOf(tensor.dtype));
  uint64_t elements = 1;
  bool overflow = false;
  for (uint64_t dim : tensor.shape)
    overflow |= __builtin_mul_overflow(elements, dim, &elements);
  overflow |= __builtin_mul_overflow(elements, bits, &bits);
  if (overflow)
    return TensorError(tensor, "its size in bits is beyond 64 bits");
  if (bits % 8 != 0) {
    return TensorError(tensor,
                       absl::StrCat("its ", bits, " bits are no whole bytes"));
  }
  return bits / 8;
}

// Tensors lie one behind the other and end where the file ends.
absl::Status CheckLayout(SafetensorsHeader& header, uint64_t file_size) {
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const StoredTensor& a, const StoredTensor& b) {
              return std::tie(a.begin, a.end, a.name) <
                     std::tie(b.begin, b.end, b.name);
            });
  uint64_t offset = 0;
  for (const StoredTensor& tensor : header.tensors) {
    if (tensor.begin != offset || tensor.end < tensor.begin) {
      return TensorError(tensor,
                         absl::StrCat("data_offsets are [", tensor.begin, ", ",
                                      tensor.end, "], must begin at ", offset,
                                      ", where the tensor before ends"));
    }
    ASSIGN_OR_RETURN(const uint64_t bytes, BytesByShape(tensor));
    if (tensor.end - tensor.begin != bytes) {
      return TensorError(
          tensor, absl::StrCat("data_offsets take ", tensor.end - tensor.begin,
                               " bytes, shape and dtype ask for ", bytes));
    }
    offset = tensor.end;
  }
  if (file_size - header.data_begin == offset) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(file_size - header.data_begin,
                                          " bytes lie behind the header, the "
                                          "tensors take ",
                                          offset));
}

uint64_t ReadLittleEndian64(absl::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = 8; i-- > 0;)
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    absl::string_view file) {
  if (file.size() < 8) {
    return absl::DataLossError(absl::StrCat(
        "is ", file.size(), " bytes long, a safetensors file has at least 8"));
  }
  const uint64_t length = ReadLittleEndian64(file);
  if (length > static_cast<uint64_t>(kMaxSafetensorsHeader)) {
    return absl::DataLossError(absl::StrCat("the header's length is ", length,
                                            ", must be at most ",
                                            kMaxSafetensorsHeader));
  }
  if (length > file.size() - 8) {
    return absl::DataLossError(absl::StrCat("the header's length is ", length,
                                            ", but only ", file.size() - 8,
                                            " bytes follow"));
  }
  SafetensorsHeader header;
  header.data_begin = 8 + length;
  HeaderHandler handler(header);
  RETURN_IF_ERROR(
      Annotate(ParseJson(file.substr(8, length), handler,
                         static_cast<size_t>(kMaxSafetensorsHeader)),
               "header"));
  RETURN_IF_ERROR(CheckLayout(header, file.size()));
  return header;
}

}  // namespace moe
