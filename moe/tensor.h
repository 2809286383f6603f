#ifndef MOE_TENSOR_H_
#define MOE_TENSOR_H_

#include <array>
#include <cstdint>
#include <initializer_list>

#include "comm/base/check.h"
#include "comm/base/dtype.h"
#include "comm/process_group.h"

namespace moe {

// A dense row-major view of memory that a Buffer owns: pointer, up to four
// dims, dtype. Copying it copies no data; const does not reach the elements.
class Tensor {
 public:
  static constexpr int kMaxRank = 4;

  Tensor() = default;
  Tensor(void* data, std::initializer_list<int64_t> shape, DType dtype)
      : data_(data), rank_(static_cast<int>(shape.size())), dtype_(dtype) {
    CHECK(rank_ <= kMaxRank);
    int i = 0;
    for (int64_t dim : shape) dims_[i++] = dim;
  }

  int rank() const { return rank_; }
  int64_t dim(int i) const { return dims_[i]; }
  DType dtype() const { return dtype_; }
  bool is_null() const { return data_ == nullptr; }
  void* raw() const { return data_; }

  // Elements in all.
  int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= dims_[i];
    return n;
  }

  // Elements as T, which must be the dtype.
  template <typename T>
  T* data() const {
    CHECK(DTypeOf<T>() == dtype_);
    return static_cast<T*>(data_);
  }

  // Rows [begin, begin + num) of dim 0.
  Tensor Rows(int64_t begin, int64_t num) const {
    Tensor rows = *this;
    rows.data_ = At(begin * RowSize());
    rows.dims_[0] = num;
    return rows;
  }

  // Row `index` of dim 0, one dim fewer.
  Tensor operator[](int64_t index) const {
    Tensor row = Rows(index, 1);
    for (int i = 1; i < rank_; ++i) row.dims_[i - 1] = row.dims_[i];
    --row.rank_;
    return row;
  }

  // The same elements under another shape.
  Tensor Reshape(std::initializer_list<int64_t> shape) const {
    Tensor other(data_, shape, dtype_);
    CHECK(other.size() == size());
    return other;
  }

  MemoryView View() const { return {data_, size(), dtype_}; }

 private:
  int64_t RowSize() const {
    int64_t n = 1;
    for (int i = 1; i < rank_; ++i) n *= dims_[i];
    return n;
  }
  void* At(int64_t element) const {
    return static_cast<char*>(data_) + element * SizeOf(dtype_);
  }

  void* data_ = nullptr;
  std::array<int64_t, kMaxRank> dims_ = {};
  int rank_ = 0;
  DType dtype_ = DType::kFloat32;
};

}  // namespace moe

#endif  // MOE_TENSOR_H_
