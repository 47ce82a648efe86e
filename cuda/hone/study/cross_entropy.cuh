// The ladder of cross-entropy, rung by rung.
#pragma once

#include <hone/study/cross_entropy_03_vectors.cuh>
#include <hone/study/rung.cuh>

namespace hone {
inline namespace HONE_TARGET {

/// Rows start on multiples of 16 bytes, and vocab is a multiple of 4.
template <class T>
inline constexpr StudyRung<StudyCrossEntropy<T>> cross_entropy_rungs[] = {&cross_entropy_01<T>, &cross_entropy_02<T>,
                                                                          &cross_entropy_03<T>};

}  // namespace HONE_TARGET
}  // namespace hone
